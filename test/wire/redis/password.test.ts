// What the proxy logs in with, before a real redis-server: what the kind gives, a rotated password and the one before it, the
// client's own where its role lets it, and nothing.
import type { Credential } from "@sallyport/core/credential";
import { secret } from "@sallyport/core/secret";
import { command } from "@sallyport/wire/redis/message";
import { expect, test } from "vitest";
import { administer, connect, openDoor, stage } from "./house.ts";
import { openTalk } from "./talk.ts";

stage();

const own = "the-client-alone-knows-this";
const adasPassword = "the-proxy-alone-knows-this";
const rotated = (now: string, before?: string) => {
  const asked: string[] = [];
  const credential = (): Credential => {
    asked.push("current");
    return {
      ...{ as: "password", user: "ada", password: secret(now), methods: "clear" },
      previous: async () => {
        asked.push("previous");
        return before === undefined ? undefined : secret(before);
      },
    };
  };
  return { credential, asked };
};
const none = (user: string) => (): Credential => ({ as: "none", user, help: "let it log in by IAM" });
const count = async (field: string): Promise<number> => {
  const info = String(await administer("INFO", "stats"));
  return Number(new RegExp(`${field}:(\\d+)`).exec(info)?.[1]);
};

test("a rotated password logs in, and the one before it is not asked for", async () => {
  const { credential, asked } = rotated(adasPassword, "another-one");
  const door = await openDoor("gate", { credential });
  expect(await connect(door, "gate").acl("WHOAMI")).toBe("ada");
  expect(asked).toEqual(["current"]);
});

test("where the server refuses it the one before is tried once, on the same connection", async () => {
  const { credential, asked } = rotated("not-yet-everywhere", adasPassword);
  const door = await openDoor("gate", { credential });
  const before = await count("total_connections_received");
  expect(await connect(door, "gate").acl("WHOAMI")).toBe("ada");
  expect(asked).toEqual(["current", "previous"]);
  expect((await count("total_connections_received")) - before).toBe(1);
});

test.each([
  ["neither is good", "another-one"],
  ["there is none", undefined],
])("where %s the client is told that its user is refused", async (_, before) => {
  const { credential, asked } = rotated("not-yet-everywhere", before);
  const door = await openDoor("gate", { credential });
  await expect(connect(door, "gate").ping()).rejects.toThrow();
  expect(door.failures.map(({ code }) => code)).toEqual(["upstream_refused"]);
  expect(asked).toEqual(["current", "previous"]);
});

test("a server that is not ready is not tried again with another password", async () => {
  const { credential, asked } = rotated(adasPassword, "another-one");
  const busy = { ...rotated(adasPassword).credential() };
  await administer("CONFIG", "SET", "maxclients", "1");
  try {
    const door = await openDoor("gate", { credential: () => ({ ...busy, ...credential() }) });
    await expect(connect(door, "gate").ping()).rejects.toThrow();
    expect(door.failures.map(({ code }) => code)).toEqual(["upstream_unreachable"]);
    expect(asked).toEqual(["current"]);
  } finally {
    await administer("CONFIG", "SET", "maxclients", "10000");
  }
});

test.each(["plain", "gate"] as const)("by the %s way the server's default user needs nothing", async (way) => {
  const door = await openDoor(way, { credential: none("default") });
  await administer("ACL", "SETUSER", "default", "on", "nopass", "~*", "+@all");
  try {
    expect(await connect(door, way).acl("WHOAMI")).toBe("default");
  } finally {
    await administer("ACL", "SETUSER", "default", "off", "resetpass");
  }
});

test("S-27 nobody is let in as the server's default user who is to be another", async () => {
  const door = await openDoor("gate", { credential: none("ada") });
  await expect(connect(door, "gate").acl("WHOAMI")).rejects.toThrow();
  expect(door.failures.map(({ code, message, hint }) => [code, message, hint])).toEqual([
    ["upstream_refused", "there is nothing to log ada in with", "let it log in by IAM"],
  ]);
});

const openOwn = async (options: { readonly ownAuth: boolean; readonly credential?: () => Credential }) => {
  await administer("ACL", "SETUSER", "ada", `>${own}`);
  const { credential = none("ada"), ownAuth } = options;
  const door = await openDoor("gate", { credential, may: { ownAuth } });
  return { door, talk: await openTalk(door.port) };
};

test.each([
  ["AUTH with its user", ["AUTH", "ada", own], "+OK\r\n"],
  ["AUTH without a user", ["AUTH", own], "+OK\r\n"],
  ["HELLO", ["HELLO", "2", "AUTH", "ada", own, "SETNAME", "mine"], "*14\r\n"],
  ["HELLO of RESP3", ["HELLO", "3", "AUTH", "default", own], "%7\r\n"],
])("a client whose role lets it proves itself by %s, in one piece with what follows", async (_, login, said) => {
  const { door, talk } = await openOwn({ ownAuth: true });
  const [first, who, name] = await talk.all([login, ["ACL", "WHOAMI"], ["CLIENT", "GETNAME"]]);
  expect([first?.slice(0, said.length), who]).toEqual([said, "$3\r\nada\r\n"]);
  expect(name).toContain(login.includes("SETNAME") ? "mine" : "");
  expect(JSON.stringify(door.sessions)).not.toContain(own);
});

test("a login of its own may come byte by byte", async () => {
  const { talk } = await openOwn({ ownAuth: true });
  const said = talk.next();
  for (const byte of command("AUTH", "ada", own)) {
    talk.write(Buffer.from([byte]));
    await new Promise((then) => setImmediate(then));
  }
  expect(await said).toBe("+OK\r\n");
  expect(await talk.ask("ACL", "WHOAMI")).toBe("$3\r\nada\r\n");
});

test("a wrong password of its own is refused in the server's words, and nothing else is tried", async () => {
  const { credential, asked } = rotated(adasPassword);
  const { door, talk } = await openOwn({ ownAuth: true, credential });
  await expect(talk.ask("AUTH", "ada", "wrong")).resolves.toMatch(/^-ERR WRONGPASS invalid username-password pair/);
  expect([asked, door.sessions.length]).toEqual([[], 0]);
});

test("without the role a client's own password is not looked at: the proxy logs in by itself", async () => {
  const { credential, asked } = rotated(adasPassword);
  const { talk } = await openOwn({ ownAuth: false, credential });
  expect(await talk.ask("AUTH", "ada", "whatever")).toBe("+OK\r\n");
  expect(await talk.ask("ACL", "WHOAMI")).toBe("$3\r\nada\r\n");
  expect(asked).toEqual(["current"]);
});

test.each([
  ["a command", ["SET", "k", "v"], "+OK\r\n"],
  ["a command of many words", ["MSET", ...Array.from({ length: 60 }, (_, at) => `k${at}`)], "+OK\r\n"],
  ["a command that is longer than a login may be", ["SET", "k", "v".repeat(300_000)], "+OK\r\n"],
  ["another user's login", ["AUTH", "bob", "bob-has-a-password"], "+OK\r\n"],
  ["a HELLO without a login", ["HELLO", "3"], "%7\r\n"],
  ["an AUTH that is none", ["AUTH"], "-ERR wrong number of arguments for 'auth' command\r\n"],
])("a client that may, and begins with %s, is logged in by the proxy and answered", async (_, words, said) => {
  const { credential } = rotated(adasPassword);
  const { talk } = await openOwn({ ownAuth: true, credential });
  expect((await talk.ask(...words)).slice(0, said.length)).toBe(said);
});
