// A cluster that lies: nodes that send us elsewhere, that answer what was not asked, or with what is no protocol. The session ends with a
// reason or the client gets an answer; nobody else is dialled, and nothing is left hanging.
import { Failure } from "@sallyport/core/failure";
import { command } from "@sallyport/wire/redis/message";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Answer, address, gatherWith, within } from "./liars.ts";

describe("a node that sends us elsewhere", () => {
  const moving =
    (line: string): Answer =>
    (words) =>
      words[0] === "GET" ? line : undefined;

  it.each([
    "-MOVED 12182 6.6.6.6:6379\r\n",
    "-ASK 12182 169.254.169.254:80\r\n",
    "-MOVED 12182 evil.example.com:6379\r\n",
  ])("S-33 S-35 ends the session when the cluster does not list it: %j", async (line) => {
    const { talk, entered } = await gatherWith(moving(line));
    expect(await within(talk.ask("GET", "foo"))).toMatch(
      /^upstream_refused: a node of the cluster sent us to .* does not list/,
    );
    // the cluster was asked again before
    expect(entered.length).toBeGreaterThan(2);
    for (const peer of entered) expect(peer.address).toBe(address);
  });

  it.each([
    "-MOVED 12182\r\n",
    "-MOVED 99999 10.0.0.1:7001\r\n",
    "-ASK x y\r\n",
    "-MOVED 1 10.0.0.1:0\r\n",
    "-MOVED 1 a b c\r\n",
  ])("S-33 ends the session when it can't be read: %j", async (line) => {
    const { talk } = await gatherWith(moving(line));
    expect(await within(talk.ask("GET", "foo"))).toMatch(/^upstream_refused:/);
  });

  it("S-33 in a circle is given up after a bounded number of tries, with words of ours", async () => {
    let asked = 0;
    const { talk } = await gatherWith((words, port) => {
      if (words[0] !== "GET") return undefined;
      asked++;
      return `-MOVED 12182 ${address}:${port === 7001 ? 7002 : 7001}\r\n`;
    });
    expect(await within(talk.ask("GET", "foo"))).toMatch(/^-ERR the cluster's slots are being moved/);
    expect(asked).toBeLessThan(40);
    expect(await talk.ask("SET", "foo", "1")).toBe("+OK\r\n");
  }, 30_000);

  it("S-33 that answers ASKING with ASK is asked no more than a bounded number of times", async () => {
    let asked = 0;
    const { talk } = await gatherWith((words) => {
      if (words[0] !== "GET" && words[0] !== "ASKING") return undefined;
      asked++;
      return `-ASK 12182 ${address}:7002\r\n`;
    });
    expect(await within(talk.ask("GET", "foo"))).toMatch(/^-ERR the cluster's slots are being moved/);
    expect(asked).toBeLessThan(80);
  }, 30_000);

  it("an address left out is the one that answered", async () => {
    const { talk } = await gatherWith((words, port) => {
      if (words[0] !== "GET") return undefined;
      return port === 7002 ? "+here\r\n" : `-MOVED 12182 ${address}:7002\r\n`;
    });
    expect(await talk.ask("GET", "foo")).toBe("+here\r\n");
  });
});

describe("a list of nodes that can't be read", () => {
  it.each([
    ...[
      "-NOPERM this user has no permissions to run the 'cluster|slots' command\r\n",
      "+OK\r\n",
      "*0\r\n",
      "*1\r\n*0\r\n",
      ":5\r\n",
    ],
    ...["*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$3\r\na b\r\n:1\r\n"],
    "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:99999\r\n",
  ])("S-33 is a failed login: %j", async (answer) => {
    const failed = gatherWith((words) => (words[1] === "SLOTS" ? answer : undefined));
    await expect(failed).rejects.toMatchObject({ code: "upstream_refused" });
  });
});

describe("what is no answer", () => {
  it.each([
    "*-5\r\n",
    "$99999999999999999\r\n",
    "hello\r\n",
    "+OK\r\n+AND MORE\r\n",
    "*1\r\n$5\r\nab\r\n\r\n\r\n",
    "%1\r\n",
  ])("S-33 ends the session or waits for the rest, and throws nothing: %j", async (answer) => {
    const { lane, talk } = await gatherWith((words) =>
      words[0] === "GET" || words[0] === "MGET" ? answer : undefined,
    );
    const [one, many] = [within(talk.ask("GET", "foo")), within(talk.ask("MGET", "foo", "bar", "baz"))];
    const late = new Promise<string>((resolve) => setTimeout(resolve, 300, "still waiting"));
    const said = await Promise.race([one.then(() => many), late]);
    expect(said).toMatch(/^(still waiting|closed|upstream_refused|\+|\*|-)/);
    lane.destroy();
  });

  const frame = fc.oneof(
    fc.constantFrom(
      "+OK\r\n",
      ":1\r\n",
      "$-1\r\n",
      "_\r\n",
      "*0\r\n",
      "*-1\r\n",
      "-ERR no\r\n",
      "%1\r\n+a\r\n:1\r\n",
      "~1\r\n:1\r\n",
    ),
    fc.constantFrom(
      "*2\r\n$1\r\na\r\n:1\r\n",
      "$3\r\nabc\r\n",
      ">2\r\n+message\r\n+x\r\n",
      "*2\r\n$1\r\n5\r\n*0\r\n",
      "=7\r\ntxt:abc\r\n",
    ),
    fc.constantFrom(
      "-MOVED 1 10.0.0.1:7002\r\n",
      "-ASK 1 10.0.0.1:7003\r\n",
      ">3\r\n+subscribe\r\n+a\r\n:1\r\n",
      "!3\r\nERR\r\n",
      "|1\r\n+a\r\n:1\r\n:2\r\n",
    ),
    fc.string({ maxLength: 8 }),
  );
  const asked = fc.constantFrom<readonly string[]>(
    ...[
      ["GET", "a"],
      ["MGET", "a", "b", "c"],
      ["DEL", "a", "b"],
      ["DBSIZE"],
      ["KEYS", "*"],
      ["SCAN", "0"],
      ["INFO"],
      ["RANDOMKEY"],
    ],
    ...[
      ["MULTI"],
      ["EXEC"],
      ["SET", "a", "1"],
      ["WATCH", "a"],
      ["SCRIPT", "EXISTS", "x"],
      ["PUBSUB", "NUMSUB", "a"],
      ["SUBSCRIBE", "a"],
    ],
    ...[
      ["SSUBSCRIBE", "a"],
      ["SUNSUBSCRIBE"],
      ["HELLO", "2"],
      ["CLIENT", "TRACKING", "ON"],
      ["WAIT", "0", "0"],
      ["AUTH", "a", "b"],
      ["RESET"],
    ],
  );
  it("S-33 any answers to any commands: the lane says something or ends, in 400 sessions", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(asked, { minLength: 1, maxLength: 8 }),
        fc.array(frame, { minLength: 1, maxLength: 20 }),
        async (lines, frames) => {
          let next = 0;
          const { lane, talk } = await gatherWith((words) =>
            words[0] === "CLUSTER" ? undefined : frames[next++ % frames.length],
          );
          for (const words of lines) if (!lane.destroyed) talk.write(command(...words));
          for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
          lane.destroy();
          expect(lane.errored === null || lane.errored instanceof Failure).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  }, 60_000);
});

describe("a client that does not read", () => {
  it("S-36 is not read from either, and the nodes are not read beyond bounds", async () => {
    const value = `$1000\r\n${"x".repeat(1_000)}\r\n`;
    let given = 0;
    const { lane, nodes } = await gatherWith((words) => {
      if (words[0] !== "GET") return undefined;
      given++;
      return value;
    });
    const read = (): number => given * value.length - nodes.reduce((sum, node) => sum + node.readableLength, 0);
    lane.removeAllListeners("data");
    lane.pause();
    const count = 20_000;
    let taken = 0;
    for (let at = 0; at < count; at++) lane.write(command("GET", `k${at}`), () => taken++);
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
    // of what the nodes said, some is here and the rest is still with them
    expect(taken).toBeLessThan(17_000);
    expect(read()).toBeLessThan(8_000_000);
    expect(read()).toBeGreaterThan(0);
    let heard = 0;
    lane.on("data", (chunk: Buffer) => {
      heard += chunk.length;
    });
    lane.resume();
    await expect.poll(() => heard, { timeout: 10_000 }).toBe(count * value.length);
    expect(taken).toBe(count);
  });
});
