// Bytes at the doors of a real proxy: what is no login ends the connection, soon and without harm to anybody else, and not one
// byte of it reaches the database.
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { describe, expect, it } from "vitest";
import { dial, gssRequest, packet, sslRequest, startup } from "../local/postgres-bytes.ts";
import { dialSecure, enter, eventually, fatalCode, heard, isSilent, refused, throwAt, within } from "./attack.ts";
import { say } from "./clients/raw.ts";
import { besiege } from "./siege.ts";

const { table, proxy, plain, gatePort, issue, dialled } = besiege();

describe("before the login", () => {
  it("S-21 a login in clear is refused in PostgreSQL's words, before any password", async () => {
    const { text } = await throwAt(plain(), startup(0x30000, "user", "reader", "database", "orders"));
    expect(text[0]).toBe("E");
    expect(fatalCode(text)).toBe("28000");
    expect(text).toContain("a login here needs TLS");
    expect(text).toContain("Hconnect with sslmode=verify-full");
  });

  it("S-21 TLS 1.1 does not come about", async () => {
    const socket = await dial(plain());
    socket.write(sslRequest);
    await once(socket, "data");
    const old = { maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;
    const secured = connectTls({ socket, ...old });
    const refusal = new Promise<Error>((resolve) => secured.once("error", resolve));
    expect(await within(3_000, "the refusal", refusal)).toMatchObject({
      code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
    });
  });

  it("S-20 bytes behind a request for encryption are never read as a login", async () => {
    const { answer, door } = await issue();
    const login = Buffer.concat([
      startup(0x30000, "user", door.user, "database", door.database),
      say("p", door.password),
      say("Q", "select 1"),
    ]);
    const before = dialled();
    for (const pieces of [
      [Buffer.concat([sslRequest, login])],
      [sslRequest, login],
      [Buffer.concat([gssRequest, login])],
      [Buffer.concat([gssRequest, sslRequest, login])],
      [Buffer.concat([sslRequest, sslRequest])],
    ]) {
      const { text } = await throwAt(plain(), ...pieces);
      // the answer to the request at most, and what TLS says to bytes that are not its own
      expect(isSilent(text)).toBe(true);
    }
    expect(dialled()).toBe(before);
    expect(await table().spent(answer.id)).toEqual({ logins: 0, live: 0 });
  });

  it("S-25 requests for encryption can't be repeated for ever, nor inside TLS", async () => {
    for (const pieces of [[gssRequest, gssRequest], [gssRequest, sslRequest, gssRequest], Array(50).fill(gssRequest)]) {
      const { text } = await throwAt(plain(), ...(pieces as Buffer[]));
      expect(text.length).toBeLessThan(20);
    }
    const { door } = await issue();
    const socket = await dialSecure(door);
    socket.write(sslRequest);
    expect((await within(3_000, "hanging up", heard(socket))).text).toBe("");
  });

  it.each([-1, 0, 1, 3, 4, 7, 10_001, 0x7fffffff, -0x80000000])(
    "S-23 a packet that claims %i bytes is not waited for, in clear or in TLS",
    async (length) => {
      const head = Buffer.alloc(8);
      head.writeInt32BE(length);
      head.writeInt32BE(0x30000, 4);
      expect((await throwAt(plain(), head)).text).toBe("");
      const { door } = await issue();
      const socket = await dialSecure(door);
      socket.write(head);
      expect((await within(3_000, "hanging up", heard(socket))).text).toBe("");
    },
  );

  it.each([-1, 0, 3, 4, 16_385, 0x7fffffff, -0x80000000])(
    "S-23 a password that claims %i bytes is not waited for",
    async (length) => {
      const { answer, door } = await issue();
      const socket = await dialSecure(door);
      socket.write(startup(0x30000, "user", door.user, "database", door.database));
      await once(socket, "data");
      const head = Buffer.from("p\0\0\0\0");
      head.writeInt32BE(length, 1);
      socket.write(head);
      const { text } = await within(3_000, "hanging up", heard(socket));
      expect(fatalCode(text)).toBe("08P01");
      expect((await table().spent(answer.id)).logins).toBe(0);
    },
  );

  it("S-23 a startup split into single bytes is one startup", async () => {
    const { door } = await issue();
    const socket = await dialSecure(door);
    for (const byte of startup(0x30000, "user", door.user, "database", door.database))
      await new Promise<void>((resolve) => void socket.write(Buffer.from([byte]), () => resolve()));
    const [question] = (await once(socket, "data")) as [Buffer];
    expect(question.toString("hex")).toBe("520000000800000003");
    socket.destroy();
    // who leaves at that question is told of; the next tests count lines
    await eventually("it is in the log", () => proxy().log().includes("login.left"));
  });

  const foreign = {
    HTTP: Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    SSH: Buffer.from("SSH-2.0-OpenSSH_9.9\r\n"),
    RDP: Buffer.from("030000130ee000000000000100080003000000", "hex"),
    "Redis inline": Buffer.from("PING\r\n"),
    RESP: Buffer.from("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"),
    MySQL: Buffer.from("200000018da20f0000000001080000000000000000000000000000000000000000000000", "hex"),
    MongoDB: Buffer.from("3a0000000100000000000000d40700000000000061646d696e2e24636d6400", "hex"),
    noise: Buffer.from(Array.from({ length: 500 }, (_, at) => (at * 7919) % 251)),
  };
  it.each(Object.entries(foreign))("S-24 %s is hung up on, at the plain port and at the gate", async (_, bytes) => {
    const [before, lines] = [dialled(), proxy().log().length];
    for (const where of [plain(), gatePort()]) {
      const { text, after } = await throwAt(where, bytes);
      // a TLS alert at most
      expect(isSilent(text)).toBe(true);
      expect(after).toBeLessThan(1_500);
    }
    expect(dialled()).toBe(before);
    expect(proxy().log().length).toBe(lines);
  });

  it.each([["h2"], ["http/1.1"], ["mysql"], ["sallyport/1"], [undefined]])(
    "S-24 TLS that asks for %s gets nowhere on the plain port",
    async (alpn) => {
      const { door } = await issue();
      const socket = connectTls({
        ...plain(),
        ca: door.ca,
        servername: "localhost",
        ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
      });
      socket.on("error", () => {});
      socket.write(startup(0x30000, "user", "reader", "database", "orders"));
      expect((await within(3_000, "hanging up", heard(socket))).text).toBe("");
    },
  );

  it.each([["postgresql"], ["h2"], [undefined]])("S-24 TLS that asks for %s gets nowhere at the gate", async (alpn) => {
    const { door } = await issue();
    const socket = connectTls({
      ...gatePort(),
      ca: door.ca,
      servername: "localhost",
      ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    });
    socket.on("error", () => {});
    socket.write(startup(0x30000, "user", "reader", "database", "orders"));
    expect((await within(3_000, "hanging up", heard(socket))).text).toBe("");
  });

  it.each([
    ["no user", startup(0x30000, "database", "orders"), "28000"],
    ["an empty user", startup(0x30000, "user", "", "database", "orders"), "28000"],
    ["user twice", startup(0x30000, "user", "reader", "user", "writer", "database", "orders"), "08P01"],
    ["user last, without a value", packet(0x30000, "database\0orders\0user\0"), "08P01"],
    ["no terminator", packet(0x30000, "user\0reader\0database\0orders\0"), "08P01"],
    ["bytes behind its terminator", packet(0x30000, "user\0reader\0\0user\0writer\0\0"), "08P01"],
    ["a name longer than the server keeps", startup(0x30000, "user", "r".repeat(64), "database", "orders"), "08P01"],
    ["a role", startup(0x30000, "user", "reader", "database", "orders", "role", "writer"), "28000"],
    ["a Role", startup(0x30000, "user", "reader", "database", "orders", "Role", "writer"), "28000"],
    ["a role in options", startup(0x30000, "user", "reader", "options", "-c role=writer"), "28000"],
    ["a session-authorization", startup(0x30000, "user", "reader", "options", "--session-authorization=w"), "28000"],
    ["a program in options", startup(0x30000, "user", "reader", "options", "-P"), "0A000"],
    ["protocol 2", packet(0x20000, "orders\0reader\0"), "0A000"],
  ])("S-25 a startup with %s is refused in words, before any password", async (_, bytes, code) => {
    const { door } = await issue();
    const socket = await dialSecure(door);
    socket.write(bytes);
    const { text } = await within(3_000, "hanging up", heard(socket));
    expect(text[0]).toBe("E");
    expect(fatalCode(text)).toBe(code);
  });

  it("S-25 settings of one's own arrive, `user` as a value is a value, and unknown extensions are talked down", async () => {
    const { door } = await issue();
    const settings = ["application_name", "user", "options", "-c search_path=pg_catalog -c work_mem=5MB"];
    const session = await enter({ ...door, settings });
    expect(await session.query("select current_setting('application_name') || current_user")).toEqual(["userreader"]);
    expect(await session.query("show search_path")).toEqual(["pg_catalog"]);
    expect(await session.query("show work_mem")).toEqual(["5MB"]);
    session.close();
    const extended = await enter({ ...(await issue()).door, settings: ["_pq_.teleport", "on"] });
    expect(await extended.query("select 1")).toEqual(["1"]);
    extended.close();
  });

  it("S-25 replication is refused by the roles before the database is dialled", async () => {
    const before = dialled();
    for (const value of ["true", "database"]) {
      const { door } = await issue();
      expect(await refused({ ...door, settings: ["replication", value] })).toMatchObject({
        code: "28000",
        message: "replication is not allowed by your roles",
        hint: "a role needs the option replication: true",
      });
    }
    expect(dialled()).toBe(before);
  });
});

it("after all of it the proxy has nothing to complain of", () => {
  const complaints = proxy()
    .log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"|Warning|at file:/.test(line));
  expect(complaints).toEqual([]);
});
