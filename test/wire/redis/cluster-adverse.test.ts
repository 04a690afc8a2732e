// A cluster under a client that means no harm, at its worst: nodes that go in the middle of an answer, that refuse what others take, that
// serve nothing; and what has to be kept meanwhile, within bounds.
import { Failure } from "@sallyport/core/failure";
import { command } from "@sallyport/wire/redis/message";
import { openSurvey } from "@sallyport/wire/redis/survey";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Answer, address, gatherWith, nodeAt, slots, within } from "./liars.ts";

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
    expect(one).toMatch(
      /^-ERR a node of the cluster, 10.0.0.1:7009, can't be reached, and .* not carried out: nobody is there\r\n$/,
    );
    expect(other).toBe("-CLUSTERDOWN Hash slot not served\r\n");
    expect(await away.talk.ask("GET", "b")).toBe("+OK\r\n");
  }, 60_000);
});

describe("a node that lets a dial wait for as long as it likes", () => {
  const far = slots().toString().replace(":7003\r\n", ":7009\r\n");
  const answer: Answer = (words) => (words[1] === "SLOTS" ? far : undefined);
  const dialMs = 10_000;
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each([
    ["a command", [["GET", "foo"]]],
    ["commands", Array.from({ length: 20 }, () => ["GET", "foo"])],
    ["parts of one", [["MGET", "foo", "b", "a"]]],
    ["a transaction", [["MULTI"], ["GET", "foo"]]],
  ])("S-36 is dialled once more when the cluster was asked again, then %s is answered", async (_, commands) => {
    let later = 0;
    const now = performance.now.bind(performance);
    vi.spyOn(performance, "now").mockImplementation(() => now() + later);
    const { talk, entered } = await gatherWith(answer, 3, async () => {
      later += dialMs;
    });
    const answers = await talk.all(commands);
    expect(answers.at(-1)).toMatch(
      /^-ERR a node of the cluster, 10.0.0.1:7009, can't be reached, and the command was not carried out: nobody is there\r\n$/,
    );
    expect(entered.filter(({ port }) => port === 7009)).toHaveLength(2);
    // it was asked what it looks like now
    expect(entered.filter(({ port }) => port === 7001).length).toBeGreaterThan(1);
    expect(await talk.ask("PING")).toMatch(/^\+OK|^-ERR/);
  });

  it("does not keep others from saying what the cluster looks like", async () => {
    const silent = { address, port: 7009 };
    const entered: number[] = [];
    const survey = openSurvey(
      {
        peers: () => [silent, { ...silent, port: 7008 }, { address, port: 7001 }],
        enter: (peer) => {
          entered.push(peer.port);
          if (peer.port !== 7001) return new Promise(() => {});
          const socket = nodeAt(7001, () => undefined);
          const node = { version: 2, hello: Buffer.alloc(0), id: undefined, clustered: true } as const;
          return Promise.resolve({ ...node, socket, peer });
        },
      },
      () => 0,
    );
    expect((await survey.look(true)).primaries).toHaveLength(3);
    expect(entered).toEqual([7009, 7008, 7001]);
  });
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

describe("CLIENT CACHING before a command whose slot is on its way", () => {
  const forgetAll = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
  /** What the node hears that the slot is on its way to, and what the client does. */
  const askedOf = async (...commands: readonly string[][]) => {
    const heard: string[] = [];
    const { talk } = await gatherWith((words, port) => {
      if (port === 7002) heard.push(words.join(" "));
      if (port === 7003 && words[0] === "GET") return "-ASK 12182 10.0.0.1:7002\r\n";
      if (port === 7003 && words[0] === "EXEC") return "-EXECABORT no\r\n";
      return words[0] === "GET" ? "$1\r\nv\r\n" : undefined;
    });
    await talk.ask("CLIENT", "TRACKING", "ON", "OPTIN");
    const answers = await talk.all([["CLIENT", "CACHING", "YES"], ...commands]);
    return { heard: heard.filter((line) => !line.includes("TRACKING")), last: answers.at(-1), pushes: talk.pushes };
  };

  it("is said before ASKING, which holds for the next command alone; what the client keeps of the answer it forgets", async () => {
    const { heard, last, pushes } = await askedOf(["GET", "foo"]);
    expect(last).toBe("$1\r\nv\r\n");
    expect(heard).toEqual(["CLIENT CACHING YES", "ASKING", "GET foo"]);
    // a node takes one word or the other for the next command: it was not told to remember this one
    expect(pushes).toEqual([forgetAll]);
  });

  it("and so it is before a transaction", async () => {
    const { heard, last, pushes } = await askedOf(["MULTI"], ["GET", "foo"], ["EXEC"]);
    expect(last).toBe("+OK\r\n");
    expect(heard).toEqual(["CLIENT CACHING YES", "ASKING", "MULTI", "GET foo", "EXEC"]);
    expect(pushes).toEqual([forgetAll]);
  });
});

describe("channels", () => {
  const kinds = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"];
  const refused = /^-ERR too many channels/;
  /** Each that is asked for is heard. */
  const hearing = () =>
    gatherWith((words) => {
      const word = (words[0] ?? "").toLowerCase();
      if (!/^p?s?(un)?subscribe$|^sun/.test(word)) return undefined;
      const said = words.slice(1).map((name) => `>3\r\n$${word.length}\r\n${word}\r\n${text(name)}:1\r\n`);
      return said.join("");
    });
  const text = (name: string): string => `$${name.length}\r\n${name}\r\n`;
  const numbered = (count: number): string[] => Array.from({ length: count }, (_, at) => `{foo}${at}`);

  it.each(kinds)(
    "S-36 are kept within bounds, by number: %s",
    async (kind) => {
      const { talk } = await hearing();
      const names = numbered(65_536);
      for (let at = 0; at < names.length; at += 8_192) talk.write(command(kind, ...names.slice(at, at + 8_192)));
      expect(await talk.ask(kind, "{foo}more")).toMatch(refused);
      expect(await talk.ask("PING")).toBe("+OK\r\n");
      // one that is heard already takes no room
      const before = talk.pushes.length;
      talk.write(command(kind, "{foo}0"));
      expect(await talk.ask("PING")).toBe("+OK\r\n");
      expect(talk.pushes).toHaveLength(before + 1);
      talk.write(command(kind === "SSUBSCRIBE" ? "SUNSUBSCRIBE" : kind.replace("SUB", "UNSUB"), "{foo}0"));
      talk.write(command(kind, "{foo}more"));
      expect(await talk.ask("PING")).toBe("+OK\r\n");
      expect(talk.pushes).toHaveLength(before + 3);
    },
    60_000,
  );

  it.each(kinds)(
    "S-36 are kept within bounds, by their size: %s",
    async (kind) => {
      const { talk } = await hearing();
      const large = Buffer.alloc(5 * 1_048_576, "x");
      talk.write(command(kind, Buffer.concat([Buffer.from("{foo}"), large])));
      expect(await talk.ask(kind, Buffer.concat([Buffer.from("{foo}other"), large]))).toMatch(refused);
      talk.write(command(kind, "{foo}small"));
      expect(await talk.ask("PING")).toBe("+OK\r\n");
      expect(talk.pushes).toHaveLength(2);
    },
    60_000,
  );
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
