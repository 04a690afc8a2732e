import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { createAuthority } from "@sallyport/local/certificate";
import { expect, test } from "vitest";
import { resp } from "./redis-lines.ts";
import {
  asked,
  authority,
  dial,
  dialRaw,
  domain,
  iam,
  nobody,
  openManualTimer,
  place,
  stage,
  token,
  user,
} from "./redis-stage.ts";

const timer = openManualTimer();
const cache = stage({ timer });
const users = [nobody, iam("ada"), user("grace")];
const gracesPassword = "grace-has-a-long-password";
const hour = 3_600_000;
const wrong = "WRONGPASS invalid username-password pair or user is disabled.";

const setUp = async (): Promise<void> => {
  await cache().apply(users);
};

test("an IAM user gets in with a good token, and is exactly that user inside", async () => {
  await setUp();
  const ada = dial(cache(), { username: "ada", password: token });
  await ada.connect();
  expect(await ada.call("ACL", "WHOAMI")).toBe("ada");
  expect(asked).toMatchObject([
    { user: "ada", servername: `master.${domain}`, host: cache().fronts[0]?.host, port: cache().port },
  ]);
});

test("an IAM user with a bad token is refused in the server's own words, and so is one without", async () => {
  await setUp();
  const before = cache().fronts[0]?.counters();
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "ada", `${token}x`) + resp("AUTH", "ada", "") + resp("PING"));
  expect(await raw.lines(3)).toEqual([`-${wrong}`, `-${wrong}`, "-NOAUTH Authentication required."]);
  const after = cache().fronts[0]?.counters();
  expect((after?.refused ?? 0) - (before?.refused ?? 0)).toBe(2);
  expect(after?.admitted).toBe(before?.admitted);
});

test("a password user gets in with the password and with nothing else; the front judges no token of theirs", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "grace", token) + resp("AUTH", "grace", gracesPassword) + resp("ACL", "WHOAMI"));
  expect(await raw.lines(4)).toEqual([`-${wrong}`, "+OK", "$5", "grace"]);
  expect(asked).toEqual([]);
});

test("nobody else gets in: unknown users, the default user that is off, the account's own", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "nobody", "x") + resp("AUTH", token) + resp("AUTH", "cacheadmin", "") + resp("GET", "a"));
  expect(await raw.lines(4)).toEqual([...Array(3).fill(`-${wrong}`), "-NOAUTH Authentication required."]);
});

test("HELLO logs in too, in RESP2 and RESP3, with its other words in any order", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("HELLO", "3", "SETNAME", "one", "AUTH", "ada", token));
  const [kind] = await raw.lines(1);
  expect(kind).toBe("%7");
  const two = await dialRaw(cache());
  two.say(resp("hello", "2", "auth", "ada", token, "setname", "two") + resp("CLIENT", "GETNAME"));
  const lines = await two.lines(28);
  expect(lines[0]).toBe("*14");
  expect(lines.slice(-2)).toEqual(["$3", "two"]);
  const three = await dialRaw(cache());
  three.say(resp("HELLO", "3", "AUTH", "ada", `${token}x`) + resp("HELLO", "3", "AUTH", "ada"));
  expect(await three.lines(2)).toEqual([`-${wrong}`, "-ERR Syntax error in HELLO option 'AUTH'"]);
});

test("several logins in one HELLO are several logins, up to the first that fails", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("HELLO", "3", "AUTH", "grace", gracesPassword, "AUTH", "ada", token));
  expect((await raw.lines(1))[0]).toBe("%7");
  const other = await dialRaw(cache());
  other.say(resp("HELLO", "3", "AUTH", "grace", "x", "AUTH", "ada", token) + resp("PING"));
  expect(await other.lines(2)).toEqual([`-${wrong}`, "-NOAUTH Authentication required."]);
  expect(asked.map((ask) => ask.user)).toEqual(["ada", "ada"]);
});

test("an inline login is a login, quoted or not", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(
    `AUTH ada ${token}\r\nAUTH ada "${token}"\nauth 'ada' "\\x${token.charCodeAt(0).toString(16)}${token.slice(1)}"\r\n`,
  );
  raw.say(`PING\r\nAUTH ada "unbalanced\r\n`);
  expect(await raw.lines(5)).toEqual([
    "+OK",
    "+OK",
    "+OK",
    "+PONG",
    "-ERR Protocol error: unbalanced quotes in request",
  ]);
  await raw.ended();
});

test("a login is understood whatever the pieces it comes in", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  const bytes = Buffer.from(
    resp("AUTH", "ada", token) + resp("SET", "pieces", "a\r\n*1\r\n$4\r\nAUTH\r\nb") + resp("GET", "pieces"),
  );
  for (let at = 0; at < bytes.length; at += 37) {
    raw.socket.write(bytes.subarray(at, at + 37));
    await new Promise(setImmediate);
  }
  expect(await raw.lines(8)).toEqual(["+OK", "+OK", "$18", "a", "*1", "$4", "AUTH", "b"]);
});

test("a token as long as a role's session makes it is taken, one longer than any login is the server's to refuse", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "ada", token));
  expect(await raw.lines(1)).toEqual(["+OK"]);
  raw.say(resp("AUTH", "ada", "x".repeat(20_000)) + resp("PING"));
  expect(await raw.lines(2)).toEqual([`-${wrong}`, "+PONG"]);
  const early = await dialRaw(cache());
  early.say("*3\r\n$4\r\nAUTH\r\n$3\r\nada\r\n$20000\r\n");
  expect(await early.lines(1)).toEqual(["-ERR Protocol error: unauthenticated bulk length"]);
  expect(asked).toHaveLength(1);
});

test("an IAM login inside MULTI is refused, and the transaction with it; outside it renews", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(
    resp("AUTH", "ada", token) +
      resp("MULTI") +
      resp("SET", "in-multi", "1") +
      resp("AUTH", "ada", token) +
      resp("EXEC"),
  );
  expect(await raw.lines(5)).toEqual([
    "+OK",
    "+OK",
    "+QUEUED",
    "-ERR wrong number of arguments for 'auth' command",
    "-EXECABORT Transaction discarded because of previous errors.",
  ]);
  raw.say(resp("AUTH", "ada", token) + resp("EXISTS", "in-multi"));
  expect(await raw.lines(2)).toEqual(["+OK", ":0"]);
  expect(asked).toHaveLength(2);
});

test("an IAM connection is dropped after twelve hours unless it logged in again; a password's is not", async () => {
  await setUp();
  const [idle, renewing, password] = [await dialRaw(cache()), await dialRaw(cache()), await dialRaw(cache())];
  for (const raw of [idle, renewing]) raw.say(resp("AUTH", "ada", token));
  password.say(resp("AUTH", "grace", gracesPassword));
  for (const raw of [idle, renewing, password]) expect(await raw.lines(1)).toEqual(["+OK"]);
  timer.advance(11 * hour);
  renewing.say(resp("AUTH", "ada", token));
  expect(await renewing.lines(1)).toEqual(["+OK"]);
  timer.advance(hour);
  await idle.ended();
  for (const raw of [renewing, password]) {
    raw.say(resp("PING"));
    expect(await raw.lines(1)).toEqual(["+PONG"]);
  }
  timer.advance(11 * hour);
  await renewing.ended();
  password.say(resp("PING"));
  expect(await password.lines(1)).toEqual(["+PONG"]);
});

test("a renewal with a bad token does not renew", async () => {
  await setUp();
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "ada", token));
  expect(await raw.lines(1)).toEqual(["+OK"]);
  timer.advance(11 * hour);
  raw.say(resp("AUTH", "ada", `${token}x`));
  expect(await raw.lines(1)).toEqual([`-${wrong}`]);
  timer.advance(hour);
  await raw.ended();
});

test("commands and replies go by as they are: pipelines, binary values, pushes", async () => {
  await setUp();
  const client = dial(cache(), { username: "ada", password: token });
  await client.connect();
  const value = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 31) % 256));
  await client.set("value", value);
  expect((await client.getBuffer("value"))?.equals(value)).toBe(true);
  const replies = await client.pipeline(Array.from({ length: 2_000 }, () => ["incr", "count"])).exec();
  expect(replies?.map(([, reply]) => reply)).toEqual(Array.from({ length: 2_000 }, (_, at) => at + 1));
  const raw = await dialRaw(cache());
  raw.say(resp("HELLO", "3", "AUTH", "ada", token));
  await raw.lines(1);
  raw.say(resp("SUBSCRIBE", "news"));
  const subscribed = async (): Promise<string> => {
    for (;;) {
      const [line = ""] = await raw.lines(1);
      if (line.startsWith(">")) return line;
    }
  };
  expect(await subscribed()).toBe(">3");
  await raw.lines(5);
  await client.publish("news", "today");
  expect(await raw.lines(7)).toEqual([">3", "$7", "message", "$4", "news", "$5", "today"]);
});

test("what Redis would not take is refused in its words, and nothing behind it is heard", async () => {
  await setUp();
  for (const [bytes, words] of [
    ["*x\r\n", "-ERR Protocol error: invalid multibulk length"],
    ["*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"],
    ["*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'"],
    ["*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"],
  ] as const) {
    const raw = await dialRaw(cache());
    raw.say(resp("AUTH", "grace", gracesPassword) + bytes + resp("AUTH", "ada", token));
    expect(await raw.lines(2)).toEqual(["+OK", words]);
    await raw.ended();
  }
  expect(asked).toEqual([]);
});

test("what the service restricts is refused by the server itself, to everybody", async () => {
  await setUp();
  const client = dial(cache(), { username: "ada", password: token });
  await client.connect();
  const cases: readonly (readonly [readonly [string, ...string[]], string])[] = [
    [["CONFIG", "GET", "*"], "config|get"],
    [["ACL", "SETUSER", "ada", "+@all"], "acl|setuser"],
    [["REPLICAOF", "NO", "ONE"], "replicaof"],
    [["SHUTDOWN"], "shutdown"],
    [["SYNC"], "sync"],
  ];
  for (const [words, name] of cases)
    await expect(client.call(...words)).rejects.toThrow(
      `NOPERM this user has no permissions to run the '${name}' command`,
    );
  expect(await client.call("ACL", "WHOAMI")).toBe("ada");
});

test("nothing is let in without TLS, and the certificate names every node", async () => {
  await setUp();
  const { host, port } = place(cache());
  const plain = connectTcp({ host, port });
  plain.write(resp("PING"));
  const heard: Buffer[] = [];
  plain.on("data", (bytes: Buffer) => heard.push(bytes));
  await new Promise((answer) => plain.once("close", answer).on("error", () => {}));
  expect(Buffer.concat(heard).toString("latin1")).not.toContain("NOAUTH");
  const names = await new Promise((answer, refuse) => {
    const socket = connectTls({ host, port, ca: authority.ca, servername: `orders-001.${domain}` }, () => {
      answer(socket.getPeerCertificate().subjectaltname);
      socket.destroy();
    }).once("error", refuse);
  });
  expect(names).toBe(`DNS:*.${domain}`);
});

test("faults: another certificate, silence, garbage, a session cut, commands answered in the server's place", async () => {
  await setUp();
  const [front] = cache().fronts;
  if (!front) throw new Error("no front");
  const impostor = await (await createAuthority({ now: Date.now(), name: "impostor" })).issue([`master.${domain}`]);
  await front.misbehave({ is: "impostor", identity: impostor });
  await expect(dialRaw(cache())).rejects.toThrow("unable to verify the first certificate");
  await front.misbehave({ is: "refusing" });
  await expect(dialRaw(cache())).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await front.misbehave({ is: "garbage", bytes: Buffer.from("?garbage\r\n") });
  expect(await (await dialRaw(cache())).lines(1)).toEqual(["?garbage"]);
  await front.misbehave({ is: "cutting", afterBytes: 7 });
  const cut = await dialRaw(cache());
  cut.say(resp("AUTH", "ada", token) + resp("PING"));
  await cut.ended();
  expect(await cut.lines(1)).toEqual(["+OK"]);
  await front.misbehave();
  const moved = await dialRaw(cache());
  moved.say(resp("AUTH", "ada", token));
  expect(await moved.lines(1)).toEqual(["+OK"]);
  await front.misbehave({ is: "answering", name: "get", bytes: Buffer.from("-MOVED 7 elsewhere.example:6379\r\n") });
  moved.say(resp("GET", "a"));
  expect(await moved.lines(1)).toEqual(["-MOVED 7 elsewhere.example:6379"]);
  moved.say(resp("PING"));
  expect(await moved.lines(1)).toEqual(["+PONG"]);
});
