// A cluster that lies: nodes that send us elsewhere, that answer what was not asked, or with what is no protocol. The session ends with a
// reason or the client gets an answer; nobody else is dialled, and nothing is left hanging.
import { Duplex } from "node:stream";
import { Failure } from "@sallyport/core/failure";
import type { Peer, Socket } from "@sallyport/wire/protocol";
import { array, bulk, number } from "@sallyport/wire/redis/element";
import { openReader } from "@sallyport/wire/redis/frame";
import { command } from "@sallyport/wire/redis/message";
import { gather } from "@sallyport/wire/redis/router";
import { bytesAt } from "@sallyport/wire/redis/word";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type Talk, talkOver } from "./talk.ts";

type Answer = (words: readonly string[], port: number) => Buffer | string | undefined;

const ports = [7001, 7002, 7003] as const;
const address = "10.0.0.1";
const slots = (): Buffer =>
  array(
    ports.map((port, at) => {
      const [from, to] = [Math.floor((at * 16_384) / 3), Math.floor(((at + 1) * 16_384) / 3) - 1];
      return array([number(from), number(to), array([bulk(address), number(port), bulk(`id${port}`)])]);
    }),
  );

/** A node as a stream: what `answer` says to each command. */
const nodeAt = (port: number, answer: Answer): Duplex => {
  const reader = openReader();
  let rest: Buffer = Buffer.alloc(0);
  const node: Duplex = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _, done) => {
      rest = Buffer.concat([rest, chunk]);
      let at = 0;
      reader.forget();
      for (let end = reader.read(rest, at); end >= 0; end = at < rest.length ? reader.read(rest, at) : -1) {
        const { reading } = reader;
        const words = Array.from({ length: reading.count }, (_word, index) =>
          bytesAt(reading, index).toString("latin1"),
        );
        at = end;
        const standard = words[0] === "CLUSTER" ? (words[1] === "SLOTS" ? slots() : bulk("")) : undefined;
        const said = answer(words, port) ?? standard ?? "+OK\r\n";
        if (!node.destroyed) node.push(said);
      }
      rest = rest.subarray(at);
      done();
    },
  });
  return node;
};

const open: Duplex[] = [];
afterEach(() => {
  for (const stream of open.splice(0)) stream.destroy();
});

const gatherWith = async (
  answer: Answer,
  version: 2 | 3 = 3,
): Promise<{ lane: Socket; talk: Talk; entered: Peer[]; nodes: readonly Duplex[] }> => {
  const entered: Peer[] = [];
  const nodes: Duplex[] = [];
  const enter = async (peer: Peer) => {
    entered.push(peer);
    if (!ports.some((port) => port === peer.port)) throw new Failure("upstream_unreachable", "nobody is there");
    const socket = nodeAt(peer.port, answer);
    open.push(socket);
    nodes.push(socket);
    return { socket, peer, version, hello: Buffer.alloc(0), id: undefined, clustered: true };
  };
  const ways = { enter, shown: { host: "redis", port: 6379 } };
  const lane = (await gather(await enter({ address, port: ports[0] }), ways)) as Duplex;
  open.push(lane);
  return { lane, talk: talkOver(lane), entered, nodes };
};

const within = (promise: Promise<string>): Promise<string> =>
  promise.catch((thrown: unknown) => (thrown instanceof Failure ? `${thrown.code}: ${thrown.message}` : "closed"));

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

describe("a node that goes in the middle of an answer", () => {
  const half: Answer = (words) => (words[0] === "GET" ? "$10\r\nabc" : words[0] === "BLPOP" ? "" : undefined);
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
  };

  it("S-30 ends the session when the client has the first half: nothing is said inside an answer", async () => {
    const { lane, talk, nodes } = await gatherWith(half);
    let heard = "";
    lane.on("data", (chunk: Buffer) => {
      heard += chunk.toString();
    });
    talk.write(command("GET", "foo"));
    await turns();
    nodes[1]?.destroy();
    await turns();
    expect(lane.errored).toBeInstanceOf(Failure);
    expect(heard).toBe("$10\r\nabc");
  });

  it("S-30 is an error in its turn when the client has nothing of it yet", async () => {
    const { lane, talk, nodes } = await gatherWith(half);
    let heard = "";
    lane.on("data", (chunk: Buffer) => {
      heard += chunk.toString();
    });
    // "b" is the first node's, "foo" the last one's
    talk.write(Buffer.concat([command("BLPOP", "b", "0"), command("GET", "foo")]));
    await turns();
    nodes[1]?.destroy();
    await turns();
    expect(heard).toBe("");
    nodes[0]?.push("*-1\r\n");
    await turns();
    expect(heard).toMatch(/^\*-1\r\n-ERR the connection to [^\r]* ended before it answered[^\r]*\r\n$/);
    lane.destroy();
  });
});

describe("a slot that nobody serves", () => {
  it("is answered with the reason, whatever it is, and the session goes on", async () => {
    const far = slots().toString().replace(":7003\r\n", ":7009\r\n");
    const away = await gatherWith((words) => (words[1] === "SLOTS" ? far : undefined));
    const down = await gatherWith((words) =>
      words[0] === "GET" ? "-CLUSTERDOWN Hash slot not served\r\n" : undefined,
    );
    const [one, other] = await Promise.all([away.talk.ask("GET", "foo"), down.talk.ask("GET", "foo")]);
    expect(one).toMatch(/^-ERR a node of the cluster can't be reached, and .* not carried out: nobody is there\r\n$/);
    expect(other).toBe("-CLUSTERDOWN Hash slot not served\r\n");
    expect(await away.talk.ask("GET", "b")).toBe("+OK\r\n");
  }, 60_000);
});

describe("nodes that do not take the same login", () => {
  it.each([[["AUTH", "bob", "pw"]], [["HELLO", "3", "AUTH", "bob", "pw"]]])(
    "S-27 end the session: nobody is one user here and another there: %j",
    async (words) => {
      const { lane, talk } = await gatherWith((said, port) =>
        said[0] === words[0] && port === 7003 ? "-WRONGPASS invalid username-password pair\r\n" : undefined,
      );
      expect(await talk.ask("GET", "foo")).toBe("+OK\r\n");
      await within(talk.ask(...words));
      expect(await within(talk.ask("GET", "foo"))).toMatch(/^(closed|upstream_refused: .* do not take the same login)/);
      expect(lane.destroyed).toBe(true);
    },
  );
});

describe("a subscription that is refused", () => {
  const noperm = "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n";
  const refusing: Answer = (words) => {
    if (words[0] === "SUBSCRIBE") return words.includes("mine") ? undefined : noperm;
    if (words[0] === "UNSUBSCRIBE") return ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n";
    return words[0] === "GET" ? "$1\r\nv\r\n" : undefined;
  };

  it("leaves a client of RESP2 free to ask what it likes", async () => {
    const { talk } = await gatherWith(refusing, 2);
    expect(await talk.ask("SUBSCRIBE", "theirs")).toBe(noperm);
    expect(await talk.ask("GET", "foo")).toBe("$1\r\nv\r\n");
  });

  it("is none that UNSUBSCRIBE waits for", async () => {
    const { talk } = await gatherWith(refusing, 3);
    expect(
      await talk.all([
        ["SUBSCRIBE", "theirs"],
        ["SUBSCRIBE", "other"],
      ]),
    ).toEqual([noperm, noperm]);
    talk.write(command("UNSUBSCRIBE"));
    expect(
      await talk.all([
        ["GET", "a"],
        ["GET", "b"],
        ["GET", "foo"],
      ]),
    ).toEqual(Array(3).fill("$1\r\nv\r\n"));
    expect(talk.pushes).toHaveLength(1);
  });
});

describe("what has to be seen in full", () => {
  const piece = Buffer.alloc(16 * 1_048_576, "x");
  it.each([
    ["an error without an end", "-ERR ", ["GET", "foo"]],
    ["a push without an end", ">2\r\n$7\r\nmessage\r\n$4000000000\r\n", ["GET", "foo"]],
    ["parts of an answer", "*1\r\n$4000000000\r\n", ["MGET", "foo", "b"]],
  ])(
    "S-36 is not kept beyond bounds: %s",
    async (_, begins, words) => {
      const { lane, nodes, talk } = await gatherWith((said) => (said[0] === words[0] ? begins : undefined));
      const heard = within(talk.ask(...words));
      for (let sent = 0; sent < 20 && !lane.destroyed; sent++) {
        for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
        nodes.at(-1)?.push(piece);
      }
      expect(await heard).toMatch(/^too_large: .* 256 MiB/);
    },
    60_000,
  );
});

describe("a transaction that does not end", () => {
  it("S-36 is not kept beyond bounds, and is not carried out", async () => {
    const { talk } = await gatherWith((words) => (words[0] === "SET" ? "+QUEUED\r\n" : undefined));
    await talk.ask("MULTI");
    const value = Buffer.alloc(16 * 1_048_576, "x");
    const answers: string[] = [];
    for (let sent = 0; sent < 5; sent++) answers.push(await talk.ask("SET", "a", value));
    expect(answers.slice(0, 3)).toEqual(Array(3).fill("+QUEUED\r\n"));
    expect(answers.slice(3)).toEqual(Array(2).fill(expect.stringMatching(/^-ERR a transaction .* 64 MiB/)));
    expect(await talk.ask("EXEC")).toMatch(/^-EXECABORT/);
    expect(await talk.ask("MULTI")).toBe("+OK\r\n");
    expect(await talk.ask("SET", "a", "1")).toBe("+QUEUED\r\n");
  }, 60_000);
});

describe("a shard's channel whose slot goes", () => {
  it("in RESP2 is listened to elsewhere, and what is said of it is no answer", async () => {
    const confirm = (word: string, count: number): string =>
      `*3\r\n$${word.length}\r\n${word}\r\n$3\r\nfoo\r\n:${count}\r\n`;
    const { lane, nodes, talk } = await gatherWith((words) => {
      if (words[0] === "PING") return "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
      return words[0] === "SSUBSCRIBE" ? confirm("ssubscribe", 1) : undefined;
    }, 2);
    expect(await talk.ask("SSUBSCRIBE", "foo")).toBe(confirm("ssubscribe", 1));
    nodes.at(-1)?.push(confirm("sunsubscribe", 0));
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(lane.errored).toBeNull();
    expect(await talk.ask("PING")).toBe("*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  });
});

describe("a value that reads like a message", () => {
  it.each([2, 3] as const)("S-30 in RESP%s is a value", async (version) => {
    for (const word of ["message", "smessage", "sunsubscribe"]) {
      const value = `$${word.length}\r\n${word}\r\n`;
      const { talk } = await gatherWith((words) => (words[0] === "MGET" ? `*1\r\n${value}` : undefined), version);
      expect(await talk.all([["MGET", "foo", "b"], ["PING"]])).toEqual([`*2\r\n${value}${value}`, "+OK\r\n"]);
    }
  });
});

describe("CLIENT KILL", () => {
  it("S-37 of one connection is asked of the node whose number it is: on another it is somebody else's", async () => {
    const killed: string[] = [];
    const { talk } = await gatherWith((words, port) => {
      if (words[1] !== "KILL") return undefined;
      killed.push(`${port} ${words[2]}`);
      return words.length === 3 ? "+OK\r\n" : ":1\r\n";
    });
    expect(await talk.ask("CLIENT", "KILL", "ID", "5")).toBe(":1\r\n");
    expect(await talk.ask("CLIENT", "KILL", "SKIPME", "no", "addr", "10.0.0.9:1")).toBe(":1\r\n");
    expect(await talk.ask("CLIENT", "KILL", "10.0.0.9:1")).toBe("+OK\r\n");
    expect(killed).toEqual(["7001 ID", "7001 SKIPME", "7001 10.0.0.9:1"]);
    expect(await talk.ask("CLIENT", "KILL", "USER", "bob")).toBe(":3\r\n");
  });
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
