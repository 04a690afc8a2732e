// The login again before AWS ends the connection: on a clock that the test moves.
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { said } from "./said.ts";
import { answer, password, say, standing, text, turns } from "./stand.ts";

const hour = 3_600_000;
const login = said("AUTH", "ada", "fresh-token").toString();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});
const pass = async (ms: number): Promise<void> => {
  vi.advanceTimersByTime(ms);
  await turns();
};

test("is done when nothing is outstanding, again and again, and the client hears nothing of it", async () => {
  const stand = standing({ renewAfterMs: 11 * hour });
  await pass(11 * hour - 1);
  expect(text(stand.server)).toBe("");
  await pass(1);
  expect(text(stand.server)).toBe(login);
  await answer(stand, "+OK\r\n");
  await say(stand, said("GET", "k"));
  await answer(stand, "$1\r\nv\r\n");
  expect(text(stand.client)).toBe("$1\r\nv\r\n");
  await pass(11 * hour);
  expect(text(stand.server).split(login)).toHaveLength(3);
});

test("waits for what blocks, and what comes behind waits for it", async () => {
  const stand = standing({ renewAfterMs: 11 * hour });
  await say(stand, said("BLPOP", "q", "0"));
  await pass(11 * hour);
  expect(text(stand.server)).not.toContain("AUTH");
  await say(stand, said("GET", "k"), said("GET", "l"));
  await answer(stand, "*2\r\n$1\r\nq\r\n$1\r\nx\r\n", "$1\r\n1\r\n");
  await answer(stand, "+OK\r\n");
  await answer(stand, "$1\r\n2\r\n");
  expect(text(stand.server)).toBe(
    `${said("BLPOP", "q", "0").toString()}${said("GET", "k").toString()}${login}${said("GET", "l").toString()}`,
  );
  expect(text(stand.client)).toBe("*2\r\n$1\r\nq\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\n2\r\n");
});

test("never comes into a transaction", async () => {
  const stand = standing({ renewAfterMs: 11 * hour });
  await say(stand, said("MULTI"));
  await answer(stand, "+OK\r\n");
  await pass(11 * hour);
  await say(stand, said("SET", "k", "v"));
  await answer(stand, "+QUEUED\r\n");
  expect(text(stand.server)).not.toContain("AUTH");
  await say(stand, said("EXEC"));
  expect(text(stand.server)).not.toContain("AUTH");
  await answer(stand, "*1\r\n+OK\r\n");
  expect(text(stand.server).endsWith(login)).toBe(true);
});

test("waits until a subscriber of RESP2 is none any more", async () => {
  const stand = standing({ renewAfterMs: 11 * hour });
  await say(stand, said("SUBSCRIBE", "a"));
  await answer(stand, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  await pass(11 * hour);
  expect(text(stand.server)).not.toContain("AUTH");
  await say(stand, said("UNSUBSCRIBE"));
  await answer(stand, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
  expect(text(stand.server).endsWith(login)).toBe(true);
});

test("comes among the pushes of a subscriber of RESP3", async () => {
  const stand = standing({ renewAfterMs: 11 * hour, version: 3 });
  const confirmed = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
  const message = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";
  await say(stand, said("SUBSCRIBE", "a"));
  await answer(stand, confirmed);
  await pass(11 * hour);
  await answer(stand, `${message}+OK\r\n${message}`);
  expect(text(stand.client)).toBe(`${confirmed}${message}${message}`);
});

test("a command that comes while it is asked for is not mixed up with it", async () => {
  const { promise, resolve } = Promise.withResolvers<typeof password>();
  const stand = standing({ renewAfterMs: 11 * hour, credential: () => promise });
  await pass(11 * hour);
  await say(stand, said("GET", "k"));
  resolve(password);
  await turns();
  await answer(stand, "$1\r\n1\r\n");
  await turns();
  await answer(stand, "+OK\r\n");
  await say(stand, said("GET", "l"));
  await answer(stand, "$1\r\n2\r\n");
  expect(text(stand.client)).toBe("$1\r\n1\r\n$1\r\n2\r\n");
  expect(text(stand.server).split(login)).toHaveLength(2);
});

test("S-27 never takes a session back from who logged in while it was asked for", async () => {
  const { promise, resolve } = Promise.withResolvers<typeof password>();
  const live = { guard: () => undefined };
  const stand = standing({ renewAfterMs: 11 * hour, credential: () => promise, live });
  await pass(11 * hour);
  await say(stand, said("AUTH", "bob", "hunter2"));
  await answer(stand, "+OK\r\n");
  resolve(password);
  await turns();
  expect(text(stand.server)).toBe(said("AUTH", "bob", "hunter2").toString());
  await say(stand, said("GET", "k"));
  expect(stand.seen.lines().at(-1)).toEqual({ type: "command", command: "GET", user: "bob", args: ["k"] });
});

test("one that is not taken ends the session and says so", async () => {
  const stand = standing({ renewAfterMs: 11 * hour });
  await pass(11 * hour);
  await answer(stand, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  const { failure } = await stand.done;
  expect(failure?.code).toBe("upstream_refused");
  expect(text(stand.client)).toBe("-ERR the database did not take the login again (connect again)\r\n");
});

test("without a credential the session goes on, and asks again", async () => {
  let there = false;
  const stand = standing({
    renewAfterMs: 11 * hour,
    credential: () => (there ? Promise.resolve(password) : Promise.reject(new Failure("unavailable", "not now"))),
  });
  await pass(11 * hour);
  await say(stand, said("PING"));
  await answer(stand, "+PONG\r\n");
  expect(text(stand.client)).toBe("+PONG\r\n");
  expect(text(stand.server)).toBe(said("PING").toString());
  there = true;
  await pass(10_000);
  expect(text(stand.server)).toBe(`${said("PING").toString()}${login}`);
});

test("is never due where there is no need", async () => {
  const stand = standing({ renewAfterMs: Number.POSITIVE_INFINITY });
  await pass(0x7fff_ffff);
  expect(text(stand.server)).toBe("");
});
