import { secret } from "@sallyport/core/secret";
import type { MysqlServer } from "@sallyport/wire/mysql/client";
import { mysql } from "@sallyport/wire/mysql/mysql";
import type { Authorised, Gate } from "@sallyport/wire/protocol";
import { describe, expect, test } from "vitest";
import { failed, gateTo, grantFor, link, session, upstreamTo } from "../door.ts";
import { bits, counted, errorOf, greeting, ok, opening, packet, response, usual } from "./bytes.ts";
import { turns } from "./stand.ts";

const tls = (usual | bits.ssl) >>> 0;
const tlsRequest = packet(1, opening(tls));
const token = "sct_token";

/** A client at the plain port, `say` behind its greeting. */
const knock = (gate: Gate = gateTo()) => {
  const made = link();
  const arrival = mysql.accept(made.ours, gate);
  arrival.catch(() => {});
  return { ...made, arrival };
};
const greeted = (bytes: Buffer): boolean => bytes.length >= 4 && bytes.length >= 4 + bytes.readUIntLE(0, 3);
/** The greeting's fields, read by hand. */
const read = (bytes: Buffer) => {
  const end = bytes.indexOf(0, 5);
  const at = end + 1;
  const flags = (bytes.readUInt16LE(at + 13) | (bytes.readUInt16LE(at + 18) << 16)) >>> 0;
  return {
    ...{ sequence: bytes[3], version: bytes.toString("latin1", 5, end), connection: bytes.readUInt32LE(at), flags },
    ...{ extended: bytes.readUInt32LE(at + 27), plugin: bytes.toString("latin1", at + 44).replace(/\0+$/, "") },
    nonce: Buffer.concat([bytes.subarray(at + 4, at + 12), bytes.subarray(at + 31, at + 43)]),
  };
};
/** Through TLS to a response, and on to what the server said last. */
const arrive = async (said: Parameters<typeof response>[0] = {}) => {
  const client = knock();
  await client.until(greeted);
  client.theirs.write(tlsRequest);
  await turns(3);
  client.theirs.write(packet(2, response({ flags: tls, ...said })));
  const before = client.received().length;
  return { ...client, before };
};

/** What of an arrival is compared; the sockets in it are not for printing. */
const told = async (arrival: ReturnType<typeof mysql.accept>) => {
  const came = await arrival;
  if (!("ask" in came)) return { probe: "probe" in came };
  const { charset, maxPacket, schema, attributes } = came.wanted;
  const shown = attributes.map(([name, value]) => `${name}=${value}`);
  return {
    user: came.ask.user,
    token: came.ask.token?.reveal(),
    next: came.client.next,
    charset,
    maxPacket,
    schema,
    attributes: shown,
  };
};

describe("the plain port", () => {
  test("greets with what stock clients of both families take, and an id of our own", async () => {
    const client = knock();
    const said = read(await client.until(greeted));
    expect(said).toMatchObject({ sequence: 0, plugin: "caching_sha2_password", extended: 0 });
    expect(said.version).toMatch(/^8\.0\.\d+-sallyport$/);
    expect(said.connection).toBeGreaterThanOrEqual(0x8000_0000);
    expect(said.flags & bits.ssl).toBe(bits.ssl);
    for (const bit of [bits.track, bits.noEof, bits.statements, bits.psResults, bits.lenenc])
      expect(said.flags & bit).toBe(bit);
    for (const bit of [bits.compress, bits.optional, bits.queryAttributes]) expect(said.flags & bit).toBe(0);
    expect(said.nonce.includes(0)).toBe(false);
    const other = read(await knock().until(greeted));
    expect([other.connection === said.connection, other.nonce.equals(said.nonce)]).toEqual([false, false]);
  });

  test("asks for the token by caching_sha2_password's full authentication", async () => {
    const client = await arrive();
    expect((await client.until((bytes) => bytes.length > client.before)).subarray(client.before)).toEqual(
      packet(3, 1, 4),
    );
    client.theirs.write(packet(4, token, 0));
    expect(await told(client.arrival)).toMatchObject({
      user: "reader",
      token,
      next: 5,
      charset: 45,
      maxPacket: 0x100_0000,
    });
  });

  test("takes the token from mysql_clear_password at once, also one of more than 255 bytes", async () => {
    const long = "t".repeat(3_000);
    const client = await arrive({ plugin: "mysql_clear_password", auth: Buffer.from(`${long}\0`) });
    expect(await told(client.arrival)).toMatchObject({ token: long });
    expect(client.received().length).toBe(client.before);
  });

  test("switches whoever comes with another method, and to nothing else", async () => {
    const client = await arrive({ plugin: "mysql_native_password", auth: Buffer.alloc(20, 1) });
    const asked = (await client.until((bytes) => bytes.length > client.before)).subarray(client.before);
    expect(asked.subarray(4, 27).toString()).toBe("\ufffdcaching_sha2_password\0");
    client.theirs.write(packet(4, Buffer.alloc(32, 2)));
    await client.until((bytes) => bytes.length > client.before + asked.length);
    client.theirs.write(packet(6, token, 0));
    expect(await told(client.arrival)).toMatchObject({ token });
  });

  test("carries what else the client says: database, attributes, character set", async () => {
    const attributes = Buffer.concat([counted("program_name"), counted("mysql")]);
    const client = await arrive({
      schema: "stock",
      attributes,
      plugin: "mysql_clear_password",
      auth: Buffer.from("t\0"),
    });
    expect(await told(client.arrival)).toMatchObject({ schema: "stock", attributes: ["program_name=mysql"] });
  });

  test("somebody who looks and leaves is no login", async () => {
    for (const leave of [Buffer.alloc(0), tlsRequest]) {
      const client = knock();
      await client.until(greeted);
      client.theirs.end(leave);
      expect(await told(client.arrival)).toEqual({ probe: true });
    }
  });

  test("S-21 a login without TLS is refused in words, and nothing of it is taken for a login", async () => {
    const client = knock();
    await client.until(greeted);
    client.theirs.write(packet(1, response()));
    expect(errorOf(await client.ended())).toMatchObject({ sequence: 2, errno: 3159, state: "HY000" });
    expect((await failed(client.arrival)).code).toBe("tls_required");
  });

  test("S-20 plaintext behind the request for TLS is fatal and never read as a login", async () => {
    const log: string[] = [];
    const client = knock(gateTo(log));
    const said = await client.until(greeted);
    client.theirs.write(Buffer.concat([tlsRequest, packet(2, response())]));
    expect(await client.ended()).toEqual(said);
    expect((await failed(client.arrival)).code).toBe("protocol");
    expect(log).toEqual([]);
  });

  test("S-20 a handshake that is there already goes to TLS and nowhere else", async () => {
    const seen: Buffer[] = [];
    const gate = gateTo();
    const client = knock({
      ...gate,
      secure: async (socket) => {
        seen.push(socket.read() as Buffer);
        return socket;
      },
    });
    await client.until(greeted);
    client.theirs.write(Buffer.concat([tlsRequest, Buffer.from("\x16\x03\x01hello")]));
    while (seen.length === 0) await turns(1);
    expect(seen[0]?.toString()).toBe("\x16\x03\x01hello");
    client.ours.destroy();
  });

  test.each([
    ["no token", { plugin: "mysql_clear_password", auth: Buffer.from("\0") }, "bad_token"],
    ["an empty password", { auth: Buffer.alloc(0) }, "bad_token"],
    ["bytes behind the password", { plugin: "mysql_clear_password", auth: Buffer.from("a\0b\0") }, "protocol"],
    ["a client of before 4.1", { flags: bits.ssl | bits.secure }, "unsupported"],
    ["a name that is not UTF-8", { user: "\ufffd", auth: Buffer.of(1) }, "bad_token"],
  ])("S-26 %s is refused in words", async (_name, said, code) => {
    const client = await arrive(said);
    expect(errorOf(await client.ended())?.sequence).toBe(3);
    expect((await failed(client.arrival)).code).toBe(code);
  });

  test("S-26 what was claimed before TLS counts for nothing, and what was not offered is not in force", async () => {
    const client = knock();
    await client.until(greeted);
    client.theirs.write(packet(1, opening(0xffff_ffff)));
    await turns(3);
    const flags = (tls | bits.compress | bits.queryAttributes | bits.optional) >>> 0;
    client.theirs.write(packet(2, response({ flags, plugin: "mysql_clear_password", auth: Buffer.from("t\0") })));
    const arrival = await client.arrival;
    if ("ask" in arrival) {
      const inForce = arrival.wanted.agreed.flags;
      for (const bit of [bits.compress, bits.queryAttributes, bits.optional, bits.noEof, bits.track])
        expect(inForce & bit).toBe(0);
    }
  });

  test.each([
    ["attributes that are longer than they are", Buffer.concat([counted("a"), Buffer.of(0xfd, 0xff, 0xff, 0xff)])],
    [
      "attributes of 2^64 bytes",
      Buffer.concat([counted("a"), Buffer.of(0xfe, 255, 255, 255, 255, 255, 255, 255, 255)]),
    ],
    ["an attribute without a value", counted("a")],
  ])("S-23 S-26 %s are refused", async (_name, attributes) => {
    const client = await arrive({ attributes });
    expect(errorOf(await client.ended())?.errno).toBe(1043);
    expect((await failed(client.arrival)).code).toBe("protocol");
  });

  test.each([
    ["a number that jumps", packet(7, opening(tls)), "protocol"],
    ["a packet of 16 MiB", Buffer.of(255, 255, 255, 1), "too_large"],
    ["a packet of 17 KiB", Buffer.of(0, 0x44, 0, 1), "too_large"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "protocol"],
    ["SSH", Buffer.from("SSH-2.0-OpenSSH\r\n"), "protocol"],
    ["TLS at once", Buffer.from("16030100c8010000c40303", "hex"), "protocol"],
    ["PostgreSQL", Buffer.from("0000000804d2162f", "hex"), "protocol"],
  ])("S-23 S-24 S-26 %s is refused at once", async (_name, bytes, code) => {
    const client = knock();
    await client.until(greeted);
    client.theirs.write(bytes);
    expect(errorOf(await client.ended())?.errno).toBeDefined();
    expect((await failed(client.arrival)).code).toBe(code);
  });

  test("S-22 a login byte by byte is a login; more than a login may have is not waited for", async () => {
    const client = knock();
    await client.until(greeted);
    for (const byte of tlsRequest) client.theirs.write(Buffer.of(byte));
    await turns(60);
    const said = packet(2, response({ flags: tls, plugin: "mysql_clear_password", auth: Buffer.from("t\0") }));
    for (const byte of said) client.theirs.write(Buffer.of(byte));
    expect(await told(client.arrival)).toMatchObject({ user: "reader" });
    const hasty = knock();
    await hasty.until(greeted);
    hasty.theirs.write(Buffer.concat([Buffer.of(0xff, 0x3f, 0, 1), Buffer.alloc(20_000)]));
    expect((await failed(hasty.arrival)).code).toBe("too_large");
  });
});

describe("the gate", () => {
  const through = (target: Buffer, options: { localFiles?: boolean; name?: string } = {}) => {
    const stage = upstreamTo((made) => void made.theirs.write(target));
    const grant = { ...grantFor(), localFiles: options.localFiles ?? false };
    const ask = { user: "reader", ...(options.name === undefined ? {} : { name: options.name }) };
    const arrived: Authorised = { ask, grant, upstream: stage.upstream };
    const log: string[] = [];
    return { ...knock(gateTo(log, arrived)), stage, log };
  };
  const maria = greeting({
    ...{ version: "5.5.5-10.11.8-MariaDB", connection: 4_711, plugin: "mysql_native_password", extended: 0xffff_ffff },
    flags: ((usual & ~1) | bits.ssl | bits.compress | bits.localFiles | bits.withDb | bits.noEof | bits.track) >>> 0,
  });

  test("greets with the target's own words, but for TLS, compression and files", async () => {
    const client = through(maria);
    const said = read(await client.until(greeted));
    expect(said).toMatchObject({
      version: "5.5.5-10.11.8-MariaDB",
      connection: 4_711,
      plugin: "mysql_native_password",
    });
    expect(said.flags).toBe(((usual & ~1) | bits.withDb | bits.noEof | bits.track) >>> 0);
    expect(said.extended).toBe(0x3d);
    const allowed = read(await through(maria, { localFiles: true }).until(greeted));
    expect(allowed.flags & bits.localFiles).toBe(bits.localFiles);
  });

  test.each([
    ["mysql_native_password", Buffer.alloc(20, 1), []],
    ["mysql_native_password", Buffer.alloc(0), []],
    ["mysql_clear_password", Buffer.from("anything\0"), []],
    ["caching_sha2_password", Buffer.alloc(32, 1), [packet(2, 1, 3)]],
    ["caching_sha2_password", Buffer.alloc(0), []],
  ])("takes any proof by %s and looks at none", async (plugin, auth, answers) => {
    const client = through(maria);
    const before = (await client.until(greeted)).length;
    client.theirs.write(packet(1, response({ flags: usual & ~1, plugin, auth, schema: "stock" })));
    expect(await told(client.arrival)).toMatchObject({ user: "reader", next: 2 + answers.length, schema: "stock" });
    expect(client.received().subarray(before)).toEqual(Buffer.concat(answers));
    expect(client.log).toEqual([]);
    expect(client.stage.log).toEqual(["tcp 10.0.0.7"]);
  });

  test("moves another method to one without questions", async () => {
    const client = through(maria);
    const before = (await client.until(greeted)).length;
    client.theirs.write(packet(1, response({ flags: usual & ~1, plugin: "client_ed25519", auth: Buffer.alloc(0) })));
    const asked = (await client.until((bytes) => bytes.length > before)).subarray(before);
    expect(asked.includes("mysql_native_password")).toBe(true);
    client.theirs.write(packet(3, Buffer.alloc(20, 1)));
    expect(await told(client.arrival)).toMatchObject({ next: 4 });
  });

  test("S-05 another user than the token's is refused, and the target's connection closed", async () => {
    const client = through(maria);
    await client.until(greeted);
    client.theirs.write(packet(1, response({ flags: usual & ~1, user: "root" })));
    expect(errorOf(await client.ended())).toMatchObject({
      sequence: 2,
      errno: 1045,
      text: expect.stringContaining("reader, not root"),
    });
    expect((await failed(client.arrival)).code).toBe("denied");
    expect(client.stage.dialled[0]?.ours.destroyed).toBe(true);
  });

  test("a target that is not reached, or refuses, is worded before any greeting", async () => {
    const words = packet(0, 0xff, Buffer.of(0x10, 0x04), "Too many connections");
    const client = through(words);
    expect(errorOf(await client.ended())).toEqual({
      sequence: 0,
      errno: 1045,
      state: "",
      text: "Too many connections",
    });
    expect((await failed(client.arrival)).code).toBe("upstream_refused");
  });

  test("somebody who looks and leaves takes the target's connection along", async () => {
    const client = through(maria);
    await client.until(greeted);
    client.theirs.end();
    expect(await told(client.arrival)).toEqual({ probe: true });
    expect(client.stage.dialled[0]?.ours.destroyed).toBe(true);
  });
});

describe("welcome", () => {
  const server = { ready: ok(0).subarray(4) } as MysqlServer;
  const agreed = { flags: usual, extended: 0 };

  test("is the server's own OK; an id of ours may be named in a KILL by its user alone", async () => {
    const rules: unknown[] = [];
    const own = {
      random: () => Buffer.alloc(0),
      register: (key: string, rule?: unknown) => void rules.push([key, rule]),
    };
    const client = link();
    await mysql.welcome({ socket: client.ours, agreed, next: 5, connection: 0x8000_0001 }, server, own);
    expect(await client.until((bytes) => bytes.length > 0)).toEqual(ok(5));
    expect(rules).toEqual([
      [`query ${0x8000_0001}`, { from: "self" }],
      [`connection ${0x8000_0001}`, { from: "self", ends: true }],
    ]);
  });

  test("gives no keys through the gate: its ids are the target's", async () => {
    const [client, seen] = [link(), session()];
    await mysql.welcome({ socket: client.ours, agreed, next: 2 }, server, seen.own);
    expect(seen.keys).toEqual([]);
  });
});

test("a secret never prints", () => expect(String(secret(token))).toBe("[secret]"));
