// What passes through a session, what is answered in it, and in which order: by hand, with a server that says what the test says.
import { Failure } from "@sallyport/core/failure";
import { expect, test } from "vitest";
import { said } from "./said.ts";
import { answer, deny, say, standing, text, turns } from "./stand.ts";

test("a pipeline goes on as the bytes that came, in one write, and so do its answers", async () => {
  const stand = standing();
  const batch = Buffer.concat([said("SET", "a", "1"), said("GET", "a"), said("PING")]);
  await say(stand, batch);
  expect(stand.server.received()).toEqual(batch);
  await answer(stand, "+OK\r\n$1\r\n1\r\n+PONG\r\n");
  expect(text(stand.client)).toBe("+OK\r\n$1\r\n1\r\n+PONG\r\n");
});

test("S-27 commands that are refused answer in their place and go nowhere", async () => {
  const refusals = [
    ["CONFIG", "SET", "dir", "/tmp"],
    ["debug", "sleep", "1"],
    ["MONITOR"],
    ["PSYNC", "?", "-1"],
    ["SYNC"],
    ["REPLCONF", "listening-port", "1"],
    ["REPLICAOF", "evil.example", "6379"],
    ["SLAVEOF", "evil.example", "6379"],
    ["MIGRATE", "evil.example", "6379", "k", "0", "1000", "AUTH", "pw"],
    ["MODULE", "LOAD", "/tmp/evil.so"],
    ["ACL", "SETUSER", "bob", "on", ">pw"],
    ["ACL", "DELUSER", "bob"],
    ["ACL", "LOAD"],
    ["ACL", "SAVE"],
    ["SHUTDOWN"],
    ["SAVE"],
    ["BGSAVE"],
    ["BGREWRITEAOF"],
    ["FAILOVER"],
    ["CLUSTER", "MEET", "10.0.0.1", "6379"],
    ["CLUSTER", "RESET"],
  ];
  const stand = standing();
  await say(stand, said("GET", "a"), ...refusals.map((words) => said(...words)), said("GET", "b"));
  expect(text(stand.server)).toBe(Buffer.concat([said("GET", "a"), said("GET", "b")]).toString());
  expect(text(stand.client)).toBe("");
  await answer(stand, "$1\r\n1\r\n", "$1\r\n2\r\n");
  const lines = text(stand.client).split("\r\n");
  expect(lines.slice(0, 2)).toEqual(["$1", "1"]);
  expect(lines.slice(-3)).toEqual(["$1", "2", ""]);
  const between = lines.slice(2, -3);
  expect(between).toHaveLength(refusals.length);
  for (const line of between) expect(line).toMatch(/^-NOPERM [A-Z ]+ is not allowed through this proxy \(.+\)$/);
  const told = stand.seen.lines().filter(({ type }) => type === "refused");
  expect(told).toHaveLength(refusals.length);
  expect(JSON.stringify(stand.seen.lines())).not.toContain(">pw");
});

test("S-27 scripts pass by the role option alone", async () => {
  const guarded = standing({ live: { guard: deny } });
  const scripts = ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"];
  for (const name of scripts) await say(guarded, said(name, "return 1", "0"));
  await say(guarded, said("SCRIPT", "LOAD", "return 1"), said("FUNCTION", "LOAD", "#!lua name=a\n"));
  expect(text(guarded.server)).toBe("");
  expect(text(guarded.client).match(/-NOPERM [^\r]*"script"[^\r]*\r\n/g)).toHaveLength(scripts.length + 2);

  const open = standing();
  await say(open, said("EVAL", "return 1", "0"));
  expect(open.server.received()).toEqual(said("EVAL", "return 1", "0"));
});

test("S-27 AUTH as the session's own user is answered here, whatever the password", async () => {
  const stand = standing();
  await say(stand, said("PING"), said("AUTH", "any"), said("AUTH", "ada", "any"), said("AUTH", "default", "any"));
  await say(stand, said("AUTH"), said("AUTH", "a", "b", "c"));
  await answer(stand, "+PONG\r\n");
  expect(text(stand.client)).toBe(
    "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n-ERR wrong number of arguments for 'auth' command\r\n-ERR syntax error\r\n",
  );
  expect(stand.server.received()).toEqual(said("PING"));
  expect(JSON.stringify(stand.seen.lines())).not.toContain("any");
});

test("S-27 AUTH and HELLO as another user are refused, and the session goes on", async () => {
  const stand = standing({ live: { guard: deny } });
  await say(stand, said("AUTH", "bob", "hunter2"), said("HELLO", "3", "AUTH", "bob", "hunter2"), said("PING"));
  expect(stand.server.received()).toEqual(said("PING"));
  await answer(stand, "+PONG\r\n");
  expect(text(stand.client)).toMatch(/^-NOPERM [^\r]*own_auth[^\r]*\r\n-NOPERM [^\r]*\r\n\+PONG\r\n$/);
  expect(JSON.stringify(stand.seen.lines())).not.toContain("hunter2");
});

test("S-27 with own_auth another user is decided on, told of, and asked about at each command", async () => {
  let bob = true;
  const stand = standing({
    live: { guard: (access) => (!("user" in access) || (access.user === "bob" && bob) ? undefined : deny(access)) },
  });
  await say(stand, said("AUTH", "bob", "hunter2"), said("GET", "k"));
  // what is behind it waits until it is known who asks
  expect(stand.server.received()).toEqual(said("AUTH", "bob", "hunter2"));
  await answer(stand, "+OK\r\n");
  expect(stand.became.at(-1)?.password.reveal()).toBe("hunter2");
  expect(text(stand.server)).toContain(said("GET", "k").toString());
  bob = false;
  await say(stand, said("GET", "k"), said("AUTH", "eve", "x"));
  await answer(stand, "$-1\r\n");
  expect(text(stand.client)).toMatch(/^\+OK\r\n\$-1\r\n-NOPERM [^\r]*\r\n-NOPERM [^\r]*\r\n$/);
  expect(stand.seen.lines()).toContainEqual({ type: "command", command: "auth", user: "bob" });
  expect(stand.seen.lines()).toContainEqual({ type: "command", command: "GET", user: "bob", args: ["k"] });
  expect(JSON.stringify(stand.seen.lines())).not.toContain("hunter2");
  // however long
  bob = true;
  await say(stand, said("SET", "k", "x".repeat(200_000)));
  expect(stand.seen.lines()).toContainEqual(expect.objectContaining({ command: "SET", user: "bob" }));
  await answer(stand, "+OK\r\n");
  // and back
  await say(stand, said("AUTH", "ada", "whatever"));
  expect(text(stand.server)).toContain(said("AUTH", "ada", "fresh-token").toString());
  await answer(stand, "+OK\r\n");
  await say(stand, said("GET", "k"));
  expect(stand.seen.lines().at(-1)).toEqual({ type: "command", command: "GET", args: ["k"] });
  expect(stand.became.at(-1)).toBeUndefined();
});

test("S-27 with own_auth a refusal and an error say whose they are, as a command does", async () => {
  let bob = true;
  const stand = standing({
    live: { guard: (access) => (!("user" in access) || (access.user === "bob" && bob) ? undefined : deny(access)) },
  });
  const error = "ERR no such key";
  await say(stand, said("AUTH", "bob", "hunter2"));
  await answer(stand, "+OK\r\n");
  await say(stand, said("RENAME", "a", "b"), said("AUTH", "eve", "x"));
  await answer(stand, `-${error}\r\n`);
  bob = false;
  await say(stand, said("GET", "k"));
  const { length } = stand.seen.lines();
  expect(stand.seen.lines()).toContainEqual({ type: "error", command: "rename", user: "bob", text: error });
  const refused = { type: "refused", user: "bob", reason: expect.any(String) };
  expect(stand.seen.lines()).toContainEqual({ ...refused, command: "auth" });
  expect(stand.seen.lines()).toContainEqual({ ...refused, command: "get" });
  // and as the session's own user nothing is added
  await say(stand, said("AUTH", "ada", "whatever"));
  await answer(stand, "+OK\r\n");
  await say(stand, said("RENAME", "a", "b"), said("AUTH", "eve", "x"));
  await answer(stand, `-${error}\r\n`);
  const own = stand.seen.lines().slice(length);
  expect(own).toContainEqual({ type: "error", command: "rename", text: error });
  expect(own).toContainEqual({ type: "refused", command: "auth", reason: expect.any(String) });
});

test("S-27 an AUTH that the database refuses changes nothing", async () => {
  const stand = standing();
  await say(stand, said("AUTH", "bob", "wrong"));
  await answer(stand, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  await say(stand, said("GET", "k"));
  expect(stand.seen.lines().at(-1)).toEqual({ type: "command", command: "GET", args: ["k"] });
  expect(stand.became).toEqual([]);
});

test("S-27 AUTH inside MULTI is refused and the transaction is not carried out", async () => {
  const stand = standing();
  await say(stand, said("MULTI"), said("SET", "a", "1"), said("AUTH", "any"), said("EXEC"), said("GET", "a"));
  expect(stand.server.received()).toEqual(
    Buffer.concat([said("MULTI"), said("SET", "a", "1"), said("DISCARD"), said("GET", "a")]),
  );
  await answer(stand, "+OK\r\n+QUEUED\r\n+OK\r\n$-1\r\n");
  expect(text(stand.client)).toMatch(
    /^\+OK\r\n\+QUEUED\r\n-NOPERM AUTH is not allowed inside a transaction[^\r]*\r\n-EXECABORT [^\r]*\r\n\$-1\r\n$/,
  );
});

test("a command that is refused inside MULTI spoils the transaction, and DISCARD ends it", async () => {
  const stand = standing();
  await say(
    stand,
    said("MULTI"),
    said("CONFIG", "GET", "*"),
    said("DISCARD"),
    said("MULTI"),
    said("PING"),
    said("EXEC"),
  );
  await answer(stand, "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
  expect(text(stand.client)).toMatch(/^\+OK\r\n-NOPERM [^\r]*\r\n\+OK\r\n\+OK\r\n\+QUEUED\r\n\*1\r\n\+PONG\r\n$/);
  expect(text(stand.server)).not.toContain("CONFIG");
});

test("S-27 RESET leaves the session logged in as who it was, in RESP2", async () => {
  const stand = standing({ version: 3 });
  await say(stand, said("SUBSCRIBE", "a"));
  await answer(stand, ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  await say(stand, said("PING"), said("RESET"), said("GET", "k"));
  expect(text(stand.server)).not.toContain("RESET");
  await answer(stand, "+PONG\r\n");
  expect(
    text(stand.server).endsWith(Buffer.concat([said("RESET"), said("AUTH", "ada", "fresh-token")]).toString()),
  ).toBe(true);
  await answer(stand, "+RESET\r\n", "+OK\r\n");
  expect(text(stand.server).endsWith(said("GET", "k").toString())).toBe(true);
  await answer(stand, "$1\r\nv\r\n");
  expect(text(stand.client).endsWith("+PONG\r\n+RESET\r\n$1\r\nv\r\n")).toBe(true);
  expect(text(stand.client)).not.toContain("OK");
});

test("S-27 QUIT in a pipeline is answered in its turn and what is behind it is nobody's", async () => {
  const stand = standing();
  await say(stand, Buffer.concat([said("GET", "a"), said("QUIT"), said("SET", "a", "2")]));
  expect(stand.server.received()).toEqual(said("GET", "a"));
  await answer(stand, "$1\r\n1\r\n");
  expect(text(stand.client)).toBe("$1\r\n1\r\n+OK\r\n");
  expect(await stand.done).toEqual({ by: "client" });
  expect(stand.server.received()).toEqual(said("GET", "a"));
});

test("S-27 inline commands are ruled on like any other and go on as what they mean", async () => {
  const stand = standing();
  await say(stand, 'SET k "a b\\x41"\r\nCONFIG GET dir\nping\r\n\r\n');
  expect(stand.server.received()).toEqual(Buffer.concat([said("SET", "k", "a bA"), said("ping")]));
  await answer(stand, "+OK\r\n+PONG\r\n");
  expect(text(stand.client)).toMatch(/^\+OK\r\n-NOPERM CONFIG[^\r]*\r\n\+PONG\r\n$/);
});

test("S-27 CLIENT REPLY is kept here: what is not wanted is asked all the same and stays", async () => {
  const stand = standing({ version: 3 });
  await say(
    stand,
    ...[said("CLIENT", "REPLY", "SKIP"), said("GET", "a"), said("GET", "b"), said("CLIENT", "REPLY", "OFF")],
    ...[
      said("GET", "c"),
      said("CONFIG", "GET", "dir"),
      said("GET", "d"),
      said("CLIENT", "REPLY", "ON"),
      said("GET", "e"),
    ],
  );
  expect(text(stand.server)).not.toContain("REPLY");
  await answer(stand, "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n");
  await answer(stand, "*1\r\n$1\r\nd\r\n$1\r\ne\r\n");
  expect(text(stand.client)).toBe("$1\r\nb\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n+OK\r\n$1\r\ne\r\n");
});

test("S-27 a push is never taken for an answer", async () => {
  const stand = standing({ version: 3 });
  await answer(stand, ">2\r\n+invalidate\r\n_\r\n");
  await say(stand, said("CONFIG", "GET", "dir"), said("GET", "a"));
  await answer(stand, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n$1\r\nv\r\n>2\r\n+invalidate\r\n_\r\n");
  expect(text(stand.client)).toMatch(
    /^>2\r\n\+invalidate\r\n_\r\n-NOPERM [^\r]*\r\n>3\r\n\$7\r\nmessage\r\n\$1\r\nc\r\n\$2\r\nhi\r\n\$1\r\nv\r\n>2\r\n\+invalidate\r\n_\r\n$/,
  );
});

test("a subscriber of RESP2 gets its messages, and answers of ours between them", async () => {
  const stand = standing();
  await say(stand, said("SUBSCRIBE", "a", "b"), said("MONITOR"));
  await answer(stand, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
  expect(text(stand.client)).not.toContain("NOPERM");
  await answer(stand, "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
  expect(text(stand.client)).toContain("NOPERM MONITOR");
  await say(stand, said("UNSUBSCRIBE"), said("MONITOR"));
  await answer(stand, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n");
  expect(text(stand.client).match(/NOPERM/g)).toHaveLength(1);
  await answer(stand, "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n");
  expect(text(stand.client).match(/NOPERM/g)).toHaveLength(2);
  await say(stand, said("GET", "k"));
  await answer(stand, "$1\r\nv\r\n");
  expect(text(stand.client).endsWith("$1\r\nv\r\n")).toBe(true);
});

test("a subscription that is refused is one answer", async () => {
  const stand = standing({ version: 3 });
  await say(stand, said("SUBSCRIBE", "a", "b"), said("GET", "k"));
  await answer(stand, "-NOPERM no channel for you\r\n", "$1\r\nv\r\n");
  await say(stand, said("PING"));
  await answer(stand, "+PONG\r\n");
  expect(text(stand.client)).toBe("-NOPERM no channel for you\r\n$1\r\nv\r\n+PONG\r\n");
});

test("HELLO goes on without its login, and says from where on answers are in which version", async () => {
  const stand = standing();
  await say(stand, said("HELLO", "3", "AUTH", "ada", "token", "SETNAME", "me"), said("PING"));
  expect(stand.server.received()).toEqual(Buffer.concat([said("HELLO", "3", "SETNAME", "me"), said("PING")]));
  await answer(stand, "%1\r\n+proto\r\n:3\r\n", "+PONG\r\n");
  expect(text(stand.client)).toBe("%1\r\n+proto\r\n:3\r\n+PONG\r\n");
  await say(stand, said("HELLO", "4"), said("HELLO", "3", "NONSENSE"));
  expect(text(stand.client)).toMatch(/-NOPROTO [^\r]*\r\n-ERR Syntax error in HELLO\r\n$/);
});

test("what a client says when it has been cut is answered with why: an error where it waits, else a push", async () => {
  const why = new Failure("ended", "the session ended: user ada is locked", { hint: "ask an administrator" });
  const words = "ERR the session ended: user ada is locked (ask an administrator)";
  const asked = standing({ version: 3 });
  await say(asked, said("BLPOP", "q", "0"));
  asked.seen.end(why);
  expect(await asked.done).toEqual({ by: "cut", failure: why });
  expect(text(asked.client)).toBe(`-${words}\r\n`);

  const quiet = standing({ version: 3 });
  await turns();
  quiet.seen.end(why);
  await quiet.done;
  expect(text(quiet.client)).toBe(`>2\r\n+disconnected\r\n$${words.length}\r\n${words}\r\n`);

  const old = standing();
  await turns();
  old.seen.end(why);
  await old.done;
  expect(text(old.client)).toBe(`-${words}\r\n`);
});

test("a cut in the middle of an answer waits for its end", async () => {
  const stand = standing();
  await say(stand, said("GET", "k"), said("GET", "l"));
  await answer(stand, "$5\r\nhe");
  stand.seen.end(new Failure("ended", "over"));
  await answer(stand, "llo\r\n$1\r\nx\r\n");
  await stand.done;
  expect(text(stand.client)).toBe("$5\r\nhello\r\n-ERR over\r\n");
});

test("errors of the database's are told with the command", async () => {
  const stand = standing();
  await say(stand, said("INCR", "k"), said("GET", "k"));
  await answer(stand, "-WRONGTYPE not a number\r\n$1\r\nv\r\n");
  expect(stand.seen.lines()).toEqual([
    { type: "command", command: "INCR", args: ["k"] },
    { type: "command", command: "GET", args: ["k"] },
    { type: "error", command: "incr", text: "WRONGTYPE not a number" },
  ]);
});

test("S-27 MULTI, EXEC and DISCARD that the server does not understand end and begin no transaction", async () => {
  const guarded = standing();
  await say(guarded, said("MULTI"), said("EXEC", "x"), said("AUTH", "bob", "pw"), said("ACL", "SETUSER", "bob"));
  expect(text(guarded.server)).toBe(Buffer.concat([said("MULTI"), said("EXEC", "x")]).toString());
  await say(guarded, said("EXEC"));
  expect(text(guarded.server).endsWith(said("DISCARD").toString())).toBe(true);

  const twice = standing();
  await say(twice, said("MULTI", "x"), said("MULTI"));
  await answer(twice, "-ERR wrong number of arguments for 'multi' command\r\n", "+OK\r\n");
  await say(twice, said("SAVE"), said("EXEC"));
  expect(text(twice.server).endsWith(said("DISCARD").toString())).toBe(true);
});

test("S-27 a QUIT or RESET that is none spoils the transaction that it is in, as at the server", async () => {
  const stand = standing();
  await say(stand, said("MULTI"), said("RESET", "x"), said("EXEC"));
  expect(text(stand.server)).toBe(Buffer.concat([said("MULTI"), said("DISCARD")]).toString());
});

test("S-27 another login is answered as the client wants answers", async () => {
  const stand = standing({ live: { guard: () => undefined } });
  await say(stand, said("CLIENT", "REPLY", "OFF"), said("AUTH", "bob", "pw"));
  await answer(stand, "+OK\r\n");
  await say(stand, said("CLIENT", "REPLY", "ON"), said("PING"));
  await answer(stand, "+PONG\r\n");
  expect(text(stand.client)).toBe("+OK\r\n+PONG\r\n");
});
