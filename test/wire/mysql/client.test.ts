import { createHash } from "node:crypto";
import type { Credential } from "@sallyport/core/credential";
import { mysql } from "@sallyport/wire/mysql/mysql";
import type { Wanted } from "@sallyport/wire/mysql/server";
import { describe, expect, test } from "vitest";
import { challenge, clear, failed, grantFor, type Link, upstreamTo } from "../door.ts";
import { bits, err, type Greeted, greeting, ok, packet, usual } from "./bytes.ts";

const nonce = "abcdefghijklmnopqrst";
const hashed = (kind: string, ...parts: (string | Buffer)[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash(kind)).digest();
const xor = (left: Buffer, right: Buffer): Buffer => Buffer.from(left.map((byte, at) => byte ^ (right[at] ?? 0)));
const nativeOf = (password: string, challenged = nonce): Buffer => {
  const once = hashed("sha1", password);
  return xor(once, hashed("sha1", challenged, hashed("sha1", once)));
};
const sha2Of = (password: string): Buffer => {
  const once = hashed("sha256", password);
  return xor(once, hashed("sha256", hashed("sha256", once), nonce));
};
const native = "mysql_native_password";
const sha2 = "caching_sha2_password";
const switchTo = (plugin: string, sequence = 3, data = `${nonce}\0`): Buffer => packet(sequence, 0xfe, plugin, 0, data);

/** Whole packets of what the proxy said. */
const split = (bytes: Buffer): readonly Buffer[] => {
  const all: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.length && at + 4 + bytes.readUIntLE(at, 3) <= bytes.length; ) {
    const end = at + 4 + bytes.readUIntLE(at, 3);
    all.push(bytes.subarray(at, end));
    at = end;
  }
  return all;
};
/** A server that greets, and then says its next word to each packet but the request for TLS. */
const serve =
  (words: readonly (Buffer | ((said: Buffer) => Buffer))[], said: Greeted = {}) =>
  ({ theirs, received }: Link): void => {
    let answered = 1;
    theirs.write(greeting(said));
    theirs.on("data", () => {
      for (const one of split(received()).slice(answered)) {
        const word = words[answered++ - 1];
        if (word) theirs.write(typeof word === "function" ? word(one) : word);
      }
    });
  };
const logIn = (
  credential: Credential,
  words: Parameters<typeof serve>[0],
  said: Greeted = {},
  wanted?: Wanted,
  grant = grantFor(),
) => {
  const stage = upstreamTo(serve(words, said), credential);
  const done = mysql.login(stage.upstream, grant, wanted);
  done.catch(() => {});
  return { ...stage, done, said: () => split(stage.dialled[0]?.received() ?? Buffer.alloc(0)) };
};
const wantedOf = (over: Partial<Wanted> = {}): Wanted => ({
  ...{
    charset: 33,
    maxPacket: 1_000,
    schema: undefined,
    attributes: [[Buffer.from("program_name"), Buffer.from("psql")]],
  },
  agreed: { flags: usual, extended: 0 },
  ...over,
});

describe("login", () => {
  test("an IAM token is sent in clear, inside TLS, and only when it is asked for", async () => {
    const { done, said, log } = logIn(clear(), [switchTo("mysql_clear_password", 3, ""), ok(5)]);
    const server = await done;
    expect(log).toEqual(["tcp 10.0.0.7", "secure", "credential"]);
    const [tls, response, token] = said();
    expect([tls?.length, tls?.[3], response?.[3]]).toEqual([36, 1, 2]);
    expect(response?.includes("iam-token")).toBe(false);
    expect(token).toEqual(packet(4, "iam-token\0"));
    expect(server.connection).toBe(77);
    expect(server.ready).toEqual(ok(5).subarray(4));
  });

  test.each([
    ["by mysql_native_password", native, [ok(3)], nativeOf("pencil"), 1],
    [
      "by caching_sha2_password, which has it in its cache",
      sha2,
      [packet(3, 1, 3), undefined, undefined],
      sha2Of("pencil"),
      1,
    ],
  ])("a password is proved %s", async (_name, plugin, words, proof, at) => {
    const all = words[0] && plugin === sha2 ? [Buffer.concat([words[0], ok(4)])] : [words[0] ?? ok(3)];
    const { done, said } = logIn(challenge(), all, { plugin });
    await done;
    expect(said()[at]?.includes(proof)).toBe(true);
    expect(Buffer.concat(said()).includes("pencil")).toBe(false);
  });

  test("a password that the cache has not is sent inside TLS, once", async () => {
    const { done, said } = logIn(challenge(), [packet(3, 1, 4), ok(5)], { plugin: sha2 });
    await done;
    expect(said()[2]).toEqual(packet(4, "pencil\0"));
    const twice = logIn(challenge(), [packet(3, 1, 4), packet(5, 1, 4)], { plugin: sha2 });
    expect((await failed(twice.done)).code).toBe("upstream_refused");
  });

  test("a switch between the two methods is followed, with its own nonce", async () => {
    const other = "ABCDEFGHIJKLMNOPQRST";
    const { done, said } = logIn(challenge(), [switchTo(native, 3, `${other}\0`), ok(5)], { plugin: sha2 });
    await done;
    expect(said()[2]).toEqual(packet(4, nativeOf("pencil", other)));
  });

  test.each([
    ["mysql_clear_password", challenge(), [switchTo("mysql_clear_password")]],
    ["sha256_password", challenge(), [switchTo("sha256_password")]],
    ["dialog", challenge(), [switchTo("dialog")]],
    ["the hash of before 4.1", challenge(), [packet(3, 0xfe)]],
    ["a method twice", challenge(), [switchTo(native), switchTo(native, 5)]],
    ["a token by challenge", clear(), [switchTo(native)]],
    ["a token by caching_sha2_password", clear(), [switchTo(sha2)]],
    ["a token by a question of caching_sha2_password's", clear(), [packet(3, 1, 4)]],
    ["a public key", challenge(), [packet(3, 1, 2)]],
    ["a login without its proof", clear(), [ok(3)]],
  ])("S-26 S-33 a server that asks for %s gets nothing", async (_name, credential, words) => {
    const { done, said, dialled } = logIn(credential, words, { plugin: sha2 });
    expect((await failed(done)).code).toBe("upstream_refused");
    const all = Buffer.concat(said());
    expect([all.includes("pencil"), all.includes("iam-token")]).toEqual([false, false]);
    expect(dialled[0]?.ours.destroyed).toBe(true);
  });

  test("S-33 a server without TLS is left before anything is said", async () => {
    const { done, said, log } = logIn(clear(), [], { flags: usual });
    expect((await failed(done)).code).toBe("upstream_untrusted");
    expect([said(), log]).toEqual([[], ["tcp 10.0.0.7"]]);
  });

  test("S-20 bytes that a server sends before TLS are fatal", async () => {
    const stage = upstreamTo((made) => void made.theirs.write(Buffer.concat([greeting(), ok(2)])), clear());
    expect((await failed(mysql.login(stage.upstream, grantFor()))).code).toBe("upstream_untrusted");
    expect(stage.log).toEqual(["tcp 10.0.0.7"]);
  });

  test.each([
    ["an old protocol", packet(0, 9, "3.22\0")],
    ["a greeting cut off", greeting().subarray(0, 30)],
    ["a short greeting", packet(0, 10, "8.0\0", "abc")],
    ["a number that jumps", packet(4, 10, "8.0\0")],
    ["a greeting of 16 MiB", Buffer.of(255, 255, 255, 0)],
    ["an empty greeting", packet(0)],
  ])("S-33 %s is refused", async (_name, bytes) => {
    const stage = upstreamTo((made) => made.theirs.end(bytes), clear());
    expect(["upstream_refused", "upstream_unreachable"]).toContain(
      (await failed(mysql.login(stage.upstream, grantFor()))).code,
    );
    expect(stage.dialled[0]?.ours.destroyed).toBe(true);
  });

  test("S-33 a login that ends in an OK cut off is refused", async () => {
    const { done } = logIn(clear(), [switchTo("mysql_clear_password", 3, ""), packet(5, 0)]);
    expect((await failed(done)).code).toMatch(/^upstream_/);
  });

  test("a refusal is told in the server's own words, with a hint that helps", async () => {
    const words = err(3, 1045, "28000", "Access denied for user 'reader'");
    expect(await failed(logIn(clear(), [words]).done)).toMatchObject({
      ...{
        code: "upstream_refused",
        message: "Access denied for user 'reader'",
        details: { errno: 1045, sqlstate: "28000" },
      },
      hint: expect.stringContaining("rds-db:connect"),
    });
    const short = packet(3, 0xff);
    expect(await failed(logIn(clear(), [short]).done)).toMatchObject({ details: { errno: 0, sqlstate: "" } });
  });
});

describe("what both legs agree on", () => {
  const framing = bits.noEof | bits.track | bits.statements | bits.psResults;
  const flagsOf = (bytes: Buffer | undefined): number => bytes?.readUInt32LE(4) ?? 0;

  test("what the client took is asked of the server, the same in both halves, and nothing more", async () => {
    const agreed = { flags: usual | bits.noEof | bits.longFlag, extended: 0 };
    const offer = (usual | framing | bits.ssl | bits.attributes | bits.longFlag) >>> 0;
    const { done, said } = logIn(
      clear(),
      [switchTo("mysql_clear_password"), ok(5)],
      { flags: offer },
      wantedOf({ agreed, schema: "stock" }),
    );
    expect(await done).toMatchObject({ schema: "stock", agreed });
    const [tls, response] = said();
    expect(flagsOf(response)).toBe(flagsOf(tls));
    expect(flagsOf(tls) & framing).toBe(bits.noEof);
    expect(flagsOf(tls) & (bits.longFlag | bits.withDb)).toBe(bits.longFlag | bits.withDb);
    expect([tls?.readUInt32LE(8), tls?.[12]]).toEqual([1_000, 33]);
    expect(response?.includes("stock\0")).toBe(true);
    expect(response?.includes("\x0cprogram_name\x04psql\x0b_proxy_name\x09sallyport")).toBe(true);
  });

  test.each([
    ["DEPRECATE_EOF", { flags: usual | bits.noEof, extended: 0 }],
    ["SESSION_TRACK", { flags: usual | bits.track, extended: 0 }],
    ["MULTI_STATEMENTS", { flags: usual | bits.statements, extended: 0 }],
    ["QUERY_ATTRIBUTES", { flags: usual | bits.queryAttributes, extended: 0 }],
    ["OPTIONAL_RESULTSET_METADATA", { flags: usual | bits.optional, extended: 0 }],
    ["extensions", { flags: usual, extended: 4 }],
  ])("S-26 a client that took %s is refused where the server has none of it", async (name, agreed) => {
    const { done, said } = logIn(clear(), [], {}, wantedOf({ agreed }));
    expect(await failed(done)).toMatchObject({
      code: "unsupported",
      message: expect.stringContaining(name),
      hint: expect.stringContaining("tunnel"),
    });
    expect(said()).toEqual([]);
  });

  test.each([
    [true, true, true],
    [true, false, false],
    [false, true, false],
  ])("S-31 LOCAL_FILES: taken %s, granted %s, asked for %s", async (taken, granted, expected) => {
    const agreed = { flags: usual | (taken ? bits.localFiles : 0), extended: 0 };
    const grant = { ...grantFor(), localFiles: granted };
    const offer = { flags: (usual | bits.ssl | bits.localFiles) >>> 0 };
    const { done, said } = logIn(
      clear(),
      [switchTo("mysql_clear_password"), ok(5)],
      offer,
      wantedOf({ agreed }),
      grant,
    );
    expect((await done).localFiles).toBe(expected);
    expect((flagsOf(said()[1]) & bits.localFiles) !== 0).toBe(expected);
  });
});

describe("run and cancel", () => {
  const rows = (values: readonly (string | null)[], first = 1): Buffer =>
    Buffer.concat([
      ...[packet(first, 2), packet(first + 1, "def"), packet(first + 2, "def"), packet(first + 3, 0xfe, 0, 0, 2, 0)],
      packet(
        first + 4,
        ...values.map((value) =>
          value === null ? Buffer.of(0xfb) : Buffer.concat([Buffer.of(value.length), Buffer.from(value)]),
        ),
      ),
      packet(first + 5, 0xfe, 0, 0, 2, 0),
    ]);
  const enter = async (words: readonly Buffer[]) => {
    const stage = logIn(clear(), [switchTo("mysql_clear_password"), ok(5), ...words]);
    return { ...stage, server: await stage.done };
  };

  test("runs a statement and gives its rows", async () => {
    const { server, said } = await enter([rows(["ada", null])]);
    expect(await mysql.run(server, "select 1")).toEqual([["ada", null]]);
    expect(said()[3]).toEqual(packet(0, 3, "select 1"));
  });

  test("values travel as literals that need no quotes", async () => {
    const { server, said } = await enter([ok(1), ok(1), rows(["a", "b"]), ok(1)]);
    expect(await mysql.run(server, "select ?, ?", ["x'; drop", null])).toEqual([["a", "b"]]);
    const texts = said()
      .slice(3)
      .map((bytes) => bytes.toString("utf8", 5));
    expect(texts[0]).toBe(
      `SET @sallyport=CONVERT(0x${Buffer.from("select ?, ?").toString("hex")} USING utf8mb4), @sallyport_0=CONVERT(0x${Buffer.from("x'; drop").toString("hex")} USING utf8mb4), @sallyport_1=NULL`,
    );
    expect(texts.slice(1)).toEqual([
      "PREPARE sallyport FROM @sallyport",
      "EXECUTE sallyport USING @sallyport_0, @sallyport_1",
      "DEALLOCATE PREPARE sallyport",
    ]);
  });

  test("a statement that is refused leaves the connection as it was; one that is answered oddly does not", async () => {
    const { server } = await enter([err(1, 1064, "42000", "syntax"), packet(1, 0xfb, "/etc/passwd")]);
    expect(await failed(mysql.run(server, "selec"))).toMatchObject({ details: { errno: 1064, sqlstate: "42000" } });
    expect(server.socket.destroyed).toBe(false);
    await failed(mysql.run(server, "select 1"));
    expect(server.socket.destroyed).toBe(true);
  });

  test("a cancel is a KILL QUERY of the server's own id, by the same user, at the session's own peer", async () => {
    const stage = upstreamTo(serve([switchTo("mysql_clear_password"), ok(5), ok(1)]), clear());
    const server = await mysql.login(stage.upstream, grantFor());
    await mysql.cancel({ ...server, peer: { address: "10.9.9.9", port: 3306 } }, stage.upstream);
    expect(stage.log).toContain("tcp 10.9.9.9");
    expect(split(stage.dialled[1]?.received() ?? Buffer.alloc(0))[3]).toEqual(packet(0, 3, "KILL QUERY 77"));
    expect(stage.dialled[1]?.ours.destroyed).toBe(true);
  });

  test("a session that has ended by itself is no failure to cancel", async () => {
    const stage = upstreamTo(
      serve([switchTo("mysql_clear_password"), ok(5), err(1, 1094, "HY000", "Unknown thread id: 77")]),
      clear(),
    );
    const server = await mysql.login(stage.upstream, grantFor());
    await mysql.cancel(server, stage.upstream);
    expect(stage.dialled.length).toBe(2);
  });
});
