import { redis } from "@sallyport/wire/redis/redis";
import { describe, expect, test } from "vitest";
import { challenge, clear, failed, grantFor, type Link, type Stage, upstreamTo } from "../door.ts";
import { said } from "./said.ts";
import { text } from "./stand.ts";

const grant = grantFor({ user: "ada" });
const helloOf = (version: number, mode = "standalone"): string =>
  `${version === 3 ? "%3" : "*6"}\r\n$2\r\nid\r\n:42\r\n$5\r\nproto\r\n:${version}\r\n$4\r\nmode\r\n$${mode.length}\r\n${mode}\r\n`;

/** Answers one command after the other with these. */
const serving = (...answers: readonly string[]): Stage =>
  upstreamTo(
    (made: Link) => {
      let at = 0;
      made.theirs.on("data", () => void made.theirs.write(answers[at++] ?? "-ERR unknown command\r\n"));
    },
    clear("ada", "iam-token"),
  );
const heard = ({ dialled }: Stage, at = 0): string => text(dialled[at] as Link);

describe("login", () => {
  test("is one HELLO, inside TLS, in the version and with the name that the client wants", async () => {
    const stage = serving(helloOf(3));
    const server = await redis.login(stage.upstream, grant, { version: 3, name: "worker-1" });
    expect(heard(stage)).toBe(said("HELLO", "3", "AUTH", "ada", "iam-token", "SETNAME", "worker-1").toString());
    expect(stage.log).toEqual(["tcp 10.0.0.7", "secure", "credential"]);
    expect(server.node).toMatchObject({ version: 3, id: 42, clustered: false });
    expect(server.node.hello.toString()).toBe(helloOf(3));
  });

  test("without anything wanted speaks RESP2, with a password as with a token", async () => {
    const stage = upstreamTo(
      (made) => made.theirs.once("data", () => made.theirs.write(helloOf(2))),
      challenge("ada", "pw"),
    );
    await redis.login(stage.upstream, grant);
    expect(heard(stage)).toBe(said("HELLO", "2", "AUTH", "ada", "pw").toString());
  });

  test("goes by AUTH where there is no HELLO", async () => {
    const stage = serving(
      "-ERR unknown command 'HELLO', with args beginning with: \r\n",
      "+OK\r\n",
      "+OK\r\n",
      "$17\r\ncluster_enabled:0\r\n",
    );
    const { node } = await redis.login(stage.upstream, grant, { version: 2, name: "me" });
    expect(heard(stage)).toContain(said("AUTH", "ada", "iam-token").toString());
    expect(heard(stage)).toContain(said("CLIENT", "SETNAME", "me").toString());
    expect(node).toMatchObject({ version: 2, id: undefined, clustered: false });
  });

  test("says so where RESP3 is wanted and not there", async () => {
    for (const words of ["-NOPROTO unsupported protocol version\r\n", "-ERR unknown command 'HELLO'\r\n"]) {
      const failure = await failed(redis.login(serving(words).upstream, grant, { version: 3 }));
      expect(failure).toMatchObject({ code: "unsupported", hint: "connect with RESP2" });
    }
  });

  const refusals = [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run the 'hello' command",
  ];
  for (const words of refusals)
    test(`is refused by ${words.split(" ")[0]}, with what to do about it`, async () => {
      const stage = serving(`-${words}\r\n`);
      const failure = await failed(redis.login(stage.upstream, grant));
      expect(failure.code).toBe("upstream_refused");
      expect(failure.message).toBe(words);
      expect(failure.hint).toContain("ada has to be a user of the cache");
      expect(failure.hint).toContain("elasticache:Connect");
      expect(JSON.stringify(failure)).not.toContain("iam-token");
      expect(stage.dialled[0]?.ours.destroyed).toBe(true);
    });

  const others: readonly (readonly [string, string])[] = [
    ["a server that loads", "-LOADING Redis is loading the dataset in memory\r\n"],
    ["a server that is full", "-ERR max number of clients reached\r\n"],
    ["what is no Redis", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["another version than was asked", helloOf(3)],
    ["too much", `$70000\r\n${"x".repeat(70_000)}\r\n`],
  ];
  for (const [what, words] of others)
    test(`S-33 ${what} is no refusal of the user`, async () => {
      const failure = await failed(redis.login(serving(words).upstream, grant));
      expect(failure.code).toBe("upstream_unreachable");
    });

  test("S-33 a server that leaves early is unreachable", async () => {
    const stage = upstreamTo((made) => made.theirs.once("data", () => made.theirs.end("%3\r\n")));
    expect((await failed(redis.login(stage.upstream, grant))).code).toBe("upstream_unreachable");
  });
});

test("a cancel ends the session's connection over one of its own, as far as the user may", async () => {
  for (const words of [":1\r\n", "-NOPERM this user has no permissions to run the 'client|kill' command\r\n"]) {
    const stage = serving(helloOf(2), words);
    const server = await redis.login(stage.upstream, grant);
    const other = serving(helloOf(2), words);
    await redis.cancel(server, other.upstream);
    expect(heard(other)).toContain(said("CLIENT", "KILL", "ID", "42").toString());
    expect(other.dialled[0]?.ours.destroyed).toBe(true);
  }
});

test("one command is run with its values as they are, and its answer is rows", async () => {
  const stage = serving(
    helloOf(2),
    "*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n",
    "+PONG\r\n",
    "-ERR no such thing\r\n",
    "+PONG\r\n",
  );
  const server = await redis.login(stage.upstream, grant);
  expect(await redis.run(server, 'ACL "LIST"', ["a b", "c\r\n"])).toEqual([["a"], ["1", null]]);
  expect(heard(stage)).toContain(said("ACL", "LIST", "a b", "c\r\n").toString());
  expect(await redis.run(server, "PING")).toEqual([["PONG"]]);
  const failure = await failed(redis.run(server, "NONSENSE"));
  expect(failure).toMatchObject({ code: "upstream_refused", message: "ERR no such thing" });
  expect(await redis.run(server, "PING")).toEqual([["PONG"]]);
  expect((await failed(redis.run(server, "PING", [null]))).code).toBe("unsupported");
  expect((await failed(redis.run(server, "  "))).code).toBe("invalid");
});
