import { Failure } from "@sallyport/core/failure";
import { postgres } from "@sallyport/wire/postgres/postgres";
import type { Authorised } from "@sallyport/wire/protocol";
import { describe, expect, test } from "vitest";
import {
  errorOf,
  failed,
  gateTo,
  grantFor,
  gssRequest,
  int32,
  link,
  message,
  sslRequest,
  startupOf,
  upstreamTo,
} from "../door.ts";

const login = "user\0reader\0database\0orders\0application_name\0psql\0\0";
const askPassword = message("R", int32(3));

/** Talks to `accept` step by step: each answer is awaited before the next bytes are sent. */
const talk = async (steps: readonly (Buffer | "end")[], arrived?: Authorised) => {
  const { ours, theirs, received, until } = link();
  const log: string[] = [];
  const arrival = postgres.accept(ours, gateTo(log, arrived));
  arrival.catch(() => {});
  for (const step of steps) {
    const before = received().length;
    if (step === "end") theirs.end();
    else theirs.write(step);
    await Promise.race([until((bytes) => bytes.length > before), arrival.catch(() => {})]);
  }
  return { arrival, received, log, ours, theirs };
};
const throughTls = (...steps: readonly (Buffer | "end")[]) => talk([sslRequest, ...steps]);
const arrivedAs = (user: string, name?: string): Authorised => ({
  ask: { user, ...(name === undefined ? {} : { name }) },
  grant: grantFor({ user }),
  upstream: upstreamTo(() => {}).upstream,
});

describe("accept", () => {
  test("takes the password inside TLS as the token", async () => {
    const { arrival, received, log } = await throughTls(startupOf(login), message("p", "sly_c_token\0"));
    const found = await arrival;
    expect(found).toMatchObject({ ask: { user: "reader", name: "orders" }, client: { minor: 0 } });
    expect("ask" in found && found.ask.token?.reveal()).toBe("sly_c_token");
    expect("ask" in found && found.wanted.parameters).toEqual([["application_name", "psql"]]);
    expect(received()).toEqual(Buffer.concat([Buffer.from("S"), askPassword]));
    expect(log).toEqual(["secure"]);
  });

  test("names the database after the user when the client names none", async () => {
    const { arrival } = await throughTls(startupOf("user\0reader\0\0"), message("p", "t\0"));
    expect(await arrival).toMatchObject({ ask: { user: "reader", name: "reader" } });
  });

  test("answers GSSENCRequest and then SSLRequest", async () => {
    const { arrival, received } = await talk([gssRequest, sslRequest, startupOf(login), message("p", "t\0")]);
    await arrival;
    expect(received().toString("latin1", 0, 2)).toBe("NS");
  });

  test("knows direct TLS by its first byte and hands that byte on", async () => {
    const { ours, theirs } = link();
    const seen: unknown[] = [];
    const gate = gateTo();
    const arrival = postgres.accept(ours, {
      ...gate,
      secure: async (socket) => {
        seen.push(socket.read(3));
        return socket;
      },
    });
    theirs.write(Buffer.from([0x16, 3, 1]));
    await new Promise(setImmediate);
    theirs.write(startupOf(login));
    theirs.write(message("p", "t\0"));
    expect(await arrival).toMatchObject({ ask: { user: "reader" } });
    expect(seen).toEqual([Buffer.from([0x16, 3, 1])]);
  });

  test.each([
    ["before its first byte", [] as Buffer[]],
    ["after S", [sslRequest]],
    ["at the question for its password", [sslRequest, startupOf(login)]],
  ])("takes a client that leaves %s for a probe", async (_name, steps) => {
    const { arrival } = await talk([...steps, "end"]);
    const left = await arrival;
    expect(left).toMatchObject({ probe: true });
    // only who came that far may have demanded what a token can't do
    expect(JSON.stringify(left).includes("channel_binding")).toBe(steps.length === 2);
  });

  test.each([
    ["in plain text", [] as Buffer[]],
    ["inside TLS", [sslRequest]],
  ])("takes a CancelRequest %s", async (_name, steps) => {
    const request = message("", int32(80_877_102), int32(4711), Buffer.from("cafebabe", "hex"));
    const { arrival } = await talk([...steps, request]);
    expect(await arrival).toMatchObject({ cancel: { protocol: "postgres", key: "4711.cafebabe" } });
  });

  test("negotiates a newer minor and options it does not know", async () => {
    const settings = `user\0reader\0_pq_.grease\0on\0\0`;
    const { arrival, received } = await throughTls(startupOf(settings, 0x3270f), message("p", "t\0"));
    const found = await arrival;
    expect("ask" in found && found.wanted.parameters).toEqual([]);
    const negotiated = message("v", int32(0x30002), int32(1), "_pq_.grease\0");
    expect(received()).toEqual(Buffer.concat([Buffer.from("S"), negotiated, askPassword]));
  });

  test("negotiates the newest minor there can be", async () => {
    const { arrival, received } = await throughTls(startupOf(login, 0x3ffff), message("p", "t\0"));
    expect(await arrival).toMatchObject({ client: { minor: 0xffff } });
    expect(received()).toEqual(Buffer.concat([Buffer.from("S"), message("v", int32(0x30002), int32(0)), askPassword]));
  });

  test("does not negotiate 3.2", async () => {
    const { arrival, received } = await throughTls(startupOf(login, 0x30002), message("p", "t\0"));
    expect(await arrival).toMatchObject({ client: { minor: 2 } });
    expect(received()).toEqual(Buffer.concat([Buffer.from("S"), askPassword]));
  });

  test("passes settings in options and replication on to be decided", async () => {
    const settings = "user\0reader\0replication\0database\0options\0-c geqo=off --work-mem=4MB -cfoo.bar=a\\ b\0\0";
    const { arrival } = await throughTls(startupOf(settings), message("p", "t\0"));
    expect(await arrival).toMatchObject({
      wanted: { replication: "database", parameters: [["options", "-c geqo=off --work-mem=4MB -cfoo.bar=a\\ b"]] },
    });
  });

  test("takes replication=off for no replication", async () => {
    const { arrival } = await throughTls(startupOf("user\0reader\0replication\0off\0\0"), message("p", "t\0"));
    expect(await arrival).toMatchObject({ wanted: { replication: undefined } });
  });

  test("refuses more than 16 KiB before the login", async () => {
    const { arrival } = await throughTls(
      startupOf(login),
      Buffer.concat([Buffer.from("p"), int32(9_000), Buffer.alloc(20_000)]),
    );
    expect((await failed(arrival)).code).toBe("too_large");
  });

  test("fails with what the socket was destroyed with", async () => {
    const { ours } = link();
    const arrival = postgres.accept(ours, gateTo());
    ours.destroy(new Failure("timeout", "too slow"));
    expect((await failed(arrival)).code).toBe("timeout");
  });
});

describe("accept, through the gate", () => {
  test("is inside TLS already and asks for no password", async () => {
    const { arrival, received, log } = await talk([sslRequest, startupOf(login)], arrivedAs("reader", "orders"));
    expect(await arrival).toMatchObject({ ask: { user: "reader", name: "orders" } });
    expect(received().toString()).toBe("N");
    expect(log).toEqual([]);
  });

  test("takes the token's database when the client names none", async () => {
    const { arrival } = await talk([startupOf("user\0reader\0\0")], arrivedAs("reader", "orders"));
    expect(await arrival).toMatchObject({ ask: { user: "reader", name: "orders" } });
  });

  test.each([
    "user\0admin\0database\0orders\0\0",
    "user\0reader\0database\0other\0\0",
    "user\0READER\0database\0orders\0\0",
  ])("S-05 refuses a user or database that is not the token's: %j", async (settings) => {
    const { arrival, received } = await talk([startupOf(settings)], arrivedAs("reader", "orders"));
    expect((await failed(arrival)).code).toBe("denied");
    expect(errorOf(received())).toMatchObject({ S: "FATAL", C: "28000" });
  });
});

test.each([
  ["SSLRequest", Buffer.concat([sslRequest, startupOf(login)])],
  ["SSLRequest, one byte", Buffer.concat([sslRequest, Buffer.from([0])])],
  ["GSSENCRequest", Buffer.concat([gssRequest, startupOf(login)])],
])("S-20 bytes behind %s are fatal and never read as a login", async (_name, bytes) => {
  const { arrival, received, log } = await talk([bytes]);
  expect((await failed(arrival)).code).toBe("protocol");
  expect(received().length).toBe(0);
  expect(log).toEqual([]);
});

test.each([
  ["SSLRequest inside TLS", [sslRequest, sslRequest]],
  ["GSSENCRequest twice", [gssRequest, gssRequest]],
])("S-25 %s is refused", async (_name, steps) => {
  const { arrival, received } = await talk(steps);
  expect((await failed(arrival)).code).toBe("protocol");
  expect(received().length).toBe(1);
});

test("S-21 a plaintext login is refused in PostgreSQL's words", async () => {
  const { arrival, received, log } = await talk([startupOf(login)]);
  expect((await failed(arrival)).code).toBe("tls_required");
  expect(errorOf(received())).toMatchObject({
    S: "FATAL",
    V: "FATAL",
    C: "28000",
    H: expect.stringContaining("sslmode"),
  });
  expect(log).toEqual([]);
});

test.each([0, 1, 3, 4, 7, 10_001, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000])(
  "S-23 a startup packet that claims %i bytes is refused at its head",
  async (length) => {
    const { arrival } = await talk([Buffer.concat([int32(length), Buffer.alloc(8)])]);
    expect((await failed(arrival)).code).toBe("protocol");
  },
);

test.each([0, 3, 4, 0x7fff_ffff, 0xffff_ffff])("S-23 a password that claims %i bytes is refused", async (length) => {
  const { arrival } = await throughTls(startupOf(login), Buffer.concat([Buffer.from("p"), int32(length)]));
  expect((await failed(arrival)).code).toBe("protocol");
});

test.each([
  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "SSH-2.0-OpenSSH_9.2\r\n",
  "*1\r\n$4\r\nPING\r\n",
  "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
])("S-24 a client of another protocol is closed on at once: %j", async (text) => {
  const { arrival, received, ours } = await talk([Buffer.from(text, "latin1")]);
  expect((await failed(arrival)).code).toBe("protocol");
  expect(received().length).toBe(0);
  expect(ours.destroyed).toBe(true);
});

test.each([
  ["an odd number of words", "user\0reader\0database\0\0", "protocol"],
  ["no terminator", "user\0reader\0", "protocol"],
  ["a value without its end", "user\0reader", "protocol"],
  ["user last with no value", "database\0orders\0user\0\0", "protocol"],
  ["a duplicate user", "user\0reader\0user\0admin\0\0", "protocol"],
  ["a duplicate setting", "user\0reader\0a\0b\0a\0b\0\0", "protocol"],
  ["bytes behind the terminator", "user\0reader\0\0user\0admin\0\0", "protocol"],
  ["no user", "database\0orders\0\0", "not_logged_in"],
  ["an empty user", "user\0\0database\0orders\0\0", "not_logged_in"],
  ["a user that the server would cut off", `user\0${"a".repeat(64)}\0\0`, "protocol"],
  ["a role as a setting", "user\0reader\0Role\0admin\0\0", "denied"],
  ["a session_authorization", "user\0reader\0session_authorization\0admin\0\0", "denied"],
  ["a role in options", "user\0reader\0options\0-c role=admin\0\0", "denied"],
  ["a role in long options", "user\0reader\0options\0--session-authorization=admin\0\0", "denied"],
  ["an escaped role in options", "user\0reader\0options\0-c r\\ole=admin\0\0", "denied"],
  ["other options", "user\0reader\0options\0-d 5\0\0", "unsupported"],
  ["bundled options", "user\0reader\0options\0-ec role=admin\0\0", "unsupported"],
  ["options without a value", "user\0reader\0options\0-c\0\0", "unsupported"],
])("S-25 a startup packet with %s is refused", async (_name, settings, code) => {
  const { arrival, received } = await throughTls(startupOf(settings));
  expect((await failed(arrival)).code).toBe(code);
  expect(errorOf(received())["S"]).toBe("FATAL");
});

test("S-25 a value that equals the word user does not confuse the parser", async () => {
  const { arrival } = await throughTls(
    startupOf("application_name\0user\0user\0user\0database\0database\0\0"),
    message("p", "t\0"),
  );
  expect(await arrival).toMatchObject({ ask: { user: "user", name: "database" } });
});

test("S-25 protocol 2 and 4 are refused in words", async () => {
  for (const version of [0x20000, 0x40000]) {
    const { arrival, received } = await throughTls(startupOf(login, version));
    expect((await failed(arrival)).code).toBe("unsupported");
    expect(errorOf(received())["C"]).toBe("0A000");
  }
});

describe("refuse", () => {
  const refused = async (failure: Failure) => {
    const { ours, ended } = link();
    const done = postgres.refuse({ socket: ours, minor: 0 }, failure);
    const fields = errorOf(await ended());
    await done;
    expect(ours.destroyed).toBe(true);
    return fields;
  };

  test("says message and hint with an SQLSTATE", async () => {
    const failure = new Failure("bad_token", "this token is not valid here", { hint: "ask for a new one" });
    expect(await refused(failure)).toEqual({
      ...{ S: "FATAL", V: "FATAL", C: "28P01", M: "this token is not valid here", H: "ask for a new one" },
    });
  });

  test("passes the database's own SQLSTATE on, but for the one that asks for another password", async () => {
    const say = (sqlstate: string) => refused(new Failure("upstream_refused", "no", { details: { sqlstate } }));
    expect((await say("3D000"))["C"]).toBe("3D000");
    expect((await say("28P01"))["C"]).toBe("28000");
    expect((await say("M\0Hx"))["C"]).toBe("28000");
  });

  test("S-40 never says a cause", async () => {
    const failure = new Failure("internal", "something went wrong on our side", { cause: new Error("canary-1") });
    expect(JSON.stringify(await refused(failure))).not.toContain("canary-1");
  });

  test("lets no text begin another field", async () => {
    expect(await refused(new Failure("denied", "a\0Cxxxxx"))).toMatchObject({ M: "aCxxxxx", C: "28000" });
  });

  test("never rejects when the client is gone", async () => {
    const { ours } = link();
    ours.destroy();
    await postgres.refuse({ socket: ours, minor: 0 }, new Failure("denied", "no"));
    expect(ours.destroyed).toBe(true);
  });
});

describe("welcome", () => {
  const server = {
    socket: link().ours,
    peer: { address: "10.0.0.7", port: 5432 },
    key: { pid: 4711, secret: Buffer.from("upstream-secret") },
    parameters: [message("S", "server_version\0", "18.4\0")],
    notices: [message("N", "Mhello\0\0")],
    ready: message("Z", "I"),
  };
  const keyed = async (minor: number) => {
    const { ours, until } = link();
    const keys: string[] = [];
    const own = {
      random: (count: number) => Buffer.alloc(count, 0xab),
      register: (key: string) => void keys.push(key),
    };
    await postgres.welcome({ socket: ours, minor }, server, own);
    return { said: await until((bytes) => bytes.length > 0), keys };
  };

  test.each([
    [0, 4],
    [2, 32],
  ])(
    "S-29 a 3.%i client holds the upstream's pid and %i bytes of ours, not the upstream's key",
    async (minor, size) => {
      const { said, keys } = await keyed(minor);
      const secret = Buffer.alloc(size, 0xab);
      const expected = [message("R", int32(0)), ...server.parameters, message("K", int32(4711), secret)];
      expect(said).toEqual(Buffer.concat([...expected, ...server.notices, server.ready]));
      expect(keys).toEqual([`4711.${secret.toString("hex")}`]);
      expect(said.includes("upstream-secret")).toBe(false);
    },
  );

  test("S-29 the key that a client sends back is the one that was registered", async () => {
    const { said, keys } = await keyed(2);
    const at = said.indexOf(Buffer.concat([Buffer.from("K"), int32(40)]));
    const request = message("", int32(80_877_102), said.subarray(at + 5, at + 41));
    const { arrival } = await talk([request]);
    expect(await arrival).toMatchObject({ cancel: { key: keys[0] } });
  });
});
