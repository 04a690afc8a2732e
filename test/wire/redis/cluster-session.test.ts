// What belongs to a connection, on a cluster that is shown as one node: transactions, subscriptions, tracking, its version and name, and
// what it asks about the cluster.
import { slotOf } from "@sallyport/wire/redis/slot";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Gathered, gatherAt, shown } from "./gathered.ts";
import { type RedisCluster, stage, startCluster } from "./servers.ts";
import { openTalk } from "./talk.ts";

let cluster: RedisCluster;
const clients: Gathered[] = [];
stage(async () => {
  cluster = await startCluster();
});
beforeEach(async () => {
  await Promise.all(cluster.primaries.map(({ talk }) => talk.ask("FLUSHALL")));
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(() => cluster?.stop());

const open = async (version: 2 | 3 = 2): Promise<Gathered> => {
  const client = await gatherAt(cluster.primaries[0]?.port ?? 0, version);
  clients.push(client);
  return client;
};
const nodeOf = (key: string): number => Math.floor((slotOf(Buffer.from(key), 0, key.length) * 3) / 16_384);
/** A key on each node. */
const [first = "", second = "", third = ""] = [0, 1, 2].map(
  (node) => Array.from({ length: 100 }, (_, at) => `key${at}`).find((key) => nodeOf(key) === node) ?? "",
);
const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

describe("the nodes", () => {
  it("are dialled when a key first names them, and a run for one of them is one write", async () => {
    const client = await open();
    expect(client.entered).toHaveLength(1);
    await client.ask("GET", first);
    await client.ask("PING");
    expect(client.entered).toHaveLength(1);
    await client.all([
      ["GET", second],
      ["GET", second],
      ["GET", first],
    ]);
    expect(client.entered.map(({ port }) => port)).toEqual([cluster.primaries[0]?.port, cluster.primaries[1]?.port]);
  });

  it("answer in the client's order although one waits: a BLPOP delays no command, only its answers", async () => {
    const client = await open();
    const waiting = client.all([
      ["BLPOP", first, "0"],
      ["SET", second, "1"],
      ["GET", second],
    ]);
    const admin = await open();
    await expect.poll(() => admin.ask("GET", second)).toBe("$1\r\n1\r\n");
    await admin.ask("RPUSH", first, "x");
    expect(await waiting).toEqual([`*2\r\n$${first.length}\r\n${first}\r\n$1\r\nx\r\n`, "+OK\r\n", "$1\r\n1\r\n"]);
  });

  it("keep 10,000 pipelined commands over all nodes in order", async () => {
    const client = await open();
    const lines = Array.from({ length: 10_000 }, (_, at) => ["ECHO", String(at)]).map((line, at) =>
      at % 3 === 0 ? line : ["SET", `k${at}`, String(at)],
    );
    const answers = await client.all(lines);
    for (const [at, answer] of answers.entries())
      expect(answer).toBe(at % 3 === 0 ? `$${String(at).length}\r\n${at}\r\n` : "+OK\r\n");
  });
});

describe("a transaction", () => {
  it("begins where its first key is, and a key elsewhere is CROSSSLOT", async () => {
    const client = await open();
    expect(
      await client.all([
        ["MULTI"],
        ["PING"],
        ["SET", second, "1"],
        ["SET", third, "2"],
        ["PING"],
        ["EXEC"],
        ["GET", second],
      ]),
    ).toEqual([
      ...["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", crossSlot, "+QUEUED\r\n"],
      ...["-EXECABORT Transaction discarded because of previous errors.\r\n", "$-1\r\n"],
    ]);
    expect(await client.all([["MULTI"], ["PING"], ["SET", third, "2"], ["EXEC"]])).toEqual([
      ...["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n+PONG\r\n+OK\r\n"],
    ]);
    expect(await client.all([["MULTI"], ["EXEC"], ["MULTI"], ["DISCARD"], ["GET", third]])).toEqual([
      ...["+OK\r\n", "*0\r\n", "+OK\r\n", "+OK\r\n", "$1\r\n2\r\n"],
    ]);
  });

  it("what would be asked of every node is no part of one", async () => {
    const client = await open();
    const answers = await client.all([
      ["MULTI"],
      ["SET", first, "1"],
      ["DBSIZE"],
      ["CLUSTER", "SLOTS"],
      ["EXEC"],
      ["DBSIZE"],
    ]);
    expect(answers[2]).toBe("-ERR DBSIZE concerns every node of the cluster and can't be a part of a transaction\r\n");
    expect(answers[3]).toContain("-ERR CLUSTER SLOTS concerns");
    expect(answers.slice(4)).toEqual(["-EXECABORT Transaction discarded because of previous errors.\r\n", ":0\r\n"]);
  });

  it("is not carried out when what it watches changed, on whichever node", async () => {
    const [client, other] = [await open(3), await open()];
    expect(
      await client.all([
        ["WATCH", third],
        ["GET", first],
      ]),
    ).toEqual(["+OK\r\n", "_\r\n"]);
    await other.ask("SET", third, "changed");
    expect(await client.all([["MULTI"], ["SET", third, "mine"], ["EXEC"]])).toEqual([
      "+OK\r\n",
      "+QUEUED\r\n",
      "_\r\n",
    ]);
    expect(
      await client.all([
        ["WATCH", third],
        ["WATCH", first],
      ]),
    ).toEqual(["+OK\r\n", crossSlot]);
    expect((await client.all([["MULTI"], ["SET", first, "1"], ["EXEC"]])).slice(1)).toEqual([
      ...[crossSlot, "-EXECABORT Transaction discarded because of previous errors.\r\n"],
    ]);
    expect(await client.all([["WATCH", third], ["MULTI"], ["DISCARD"]])).toEqual(["+OK\r\n", "+OK\r\n", "+OK\r\n"]);
    await other.ask("SET", third, "changed again");
    // DISCARD let go of it, although no node had heard of the transaction
    expect((await client.all([["MULTI"], ["SET", third, "mine"], ["EXEC"]])).at(-1)).toBe("*1\r\n+OK\r\n");
  });

  it("S-27 nothing is carried out outside of one whose MULTI is refused", async () => {
    for (const { talk } of cluster.primaries)
      await talk.ask("ACL", "SETUSER", "plain", "on", "nopass", "~*", "&*", "+@all", "-multi");
    const client = await open();
    expect(await client.ask("AUTH", "plain", "any")).toBe("+OK\r\n");
    const answers = await client.all([["MULTI"], ["SET", first, "1"], ["SET", first, "2"], ["EXEC"], ["GET", first]]);
    expect(answers[1]).toMatch(/^-NOPERM/);
    expect(answers.slice(3)).toEqual(["-EXECABORT Transaction discarded because of previous errors.\r\n", "$-1\r\n"]);
  });
});

describe("what is set for a connection", () => {
  it("holds on every node, also on those that are dialled later", async () => {
    const client = await open(3);
    await client.all([["CLIENT", "SETNAME", "worker"], ["READONLY"], ["CLIENT", "TRACKING", "ON"]]);
    await client.all([
      ["GET", second],
      ["GET", third],
    ]);
    for (const { talk } of cluster.primaries) {
      const list = await talk.ask("CLIENT", "LIST");
      expect(list).toMatch(/name=worker .*flags=t?r?t? .*resp=3/);
    }
    await client.ask("HELLO", "2", "SETNAME", "again");
    for (const { talk } of cluster.primaries) expect(await talk.ask("CLIENT", "LIST")).toMatch(/name=again .*resp=2/);
    expect(await client.ask("GET", first)).toBe("$-1\r\n");
    expect(await client.ask("HELLO", "9")).toMatch(/^-NOPROTO/);
    expect(await client.ask("CLIENT", "SETNAME", "a b")).toMatch(/^-ERR Client names cannot contain/);
  });

  it("invalidations come from every node that was read from, behind what was read", async () => {
    const [client, other] = [await open(3), await open()];
    await client.ask("CLIENT", "TRACKING", "ON");
    await client.all([
      ["GET", first],
      ["GET", second],
      ["GET", third],
    ]);
    await other.all([
      ["SET", second, "1"],
      ["SET", third, "1"],
    ]);
    await expect.poll(() => client.pushes.length).toBe(2);
    expect([...client.pushes].sort().join("")).toContain(`invalidate\r\n*1\r\n$${second.length}\r\n${second}`);
    await client.ask("CLIENT", "TRACKING", "OFF");
    const answers = await client.all([
      ["CLIENT", "TRACKING", "ON", "OPTIN"],
      ["CLIENT", "CACHING", "YES"],
      ["MGET", first, second],
    ]);
    expect(answers.slice(0, 2)).toEqual(["+OK\r\n", "+OK\r\n"]);
    await client.ask("GET", third);
    await other.all([
      ["SET", third, "2"],
      ["SET", first, "2"],
      ["SET", second, "2"],
    ]);
    await expect.poll(() => client.pushes.length).toBe(4);
    expect(client.pushes.slice(2).join("")).not.toContain(third);
    expect(await client.ask("CLIENT", "TRACKING", "ON", "REDIRECT", "7")).toMatch(
      /^-ERR CLIENT TRACKING with REDIRECT/,
    );
  });

  it("is gone with RESET", async () => {
    const client = await open(3);
    await client.all([["CLIENT", "SETNAME", "worker"], ["GET", second], ["MULTI"], ["SET", second, "1"]]);
    expect(await client.ask("RESET")).toBe("+RESET\r\n");
    expect(await client.all([["GET", second], ["CLIENT", "GETNAME"], ["EXEC"]])).toEqual([
      ...["$-1\r\n", "$-1\r\n", "-ERR EXEC without MULTI\r\n"],
    ]);
  });
});

describe("messages", () => {
  it("of channels and patterns come over one node, of shards over the node of their slot", async () => {
    const [client, other] = [await open(3), await open()];
    client.write(Buffer.from("*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$10\r\nPSUBSCRIBE\r\n$2\r\nn*\r\n"));
    for (const channel of [first, second, third])
      client.write(Buffer.from(`*2\r\n$10\r\nSSUBSCRIBE\r\n$${channel.length}\r\n${channel}\r\n`));
    expect(await client.ask("GET", first)).toBe("_\r\n");
    expect(client.pushes).toHaveLength(6);
    expect(client.pushes.slice(3).map((push) => push.slice(-4))).toEqual([":1\r\n", ":2\r\n", ":3\r\n"]);
    await other.all([
      ["PUBLISH", "a", "1"],
      ["PUBLISH", "news", "2"],
      ["SPUBLISH", third, "3"],
      ["SPUBLISH", second, "4"],
    ]);
    await expect.poll(() => client.pushes.length).toBe(10);
    expect(client.pushes.slice(6).filter((push) => push.includes("smessage"))).toHaveLength(2);
    expect(await other.ask("PUBSUB", "SHARDCHANNELS")).toContain(second);
    client.write(Buffer.from("*1\r\n$12\r\nSUNSUBSCRIBE\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n"));
    await client.ask("PING");
    expect(client.pushes.slice(10).map((push) => push.slice(-4))).toEqual([
      ...[":2\r\n", ":1\r\n", ":0\r\n", ":2\r\n", ":1\r\n"],
    ]);
  });

  it("in RESP2 who listens may ask nothing else, wherever its keys are", async () => {
    const client = await open();
    const answers = await client.all([
      ["SUBSCRIBE", "a"],
      ["GET", third],
      ["MGET", first, second],
      ["PING"],
      ["UNSUBSCRIBE"],
      ["GET", third],
    ]);
    expect(answers[0]).toBe("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    expect(answers[1]).toMatch(/^-ERR Can't execute 'get': only/);
    expect(answers[2]).toMatch(/^-ERR Can't execute 'mget': only/);
    expect(answers.slice(3)).toEqual([
      ...["*2\r\n$4\r\npong\r\n$0\r\n\r\n", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n", "$-1\r\n"],
    ]);
  });
});

describe("the cluster that is shown", () => {
  it("is one node with every slot at the address that was dialled", async () => {
    const client = await open(3);
    const answers = await client.all([
      ["CLUSTER", "SLOTS"],
      ["CLUSTER", "SHARDS"],
      ["CLUSTER", "NODES"],
      ["CLUSTER", "INFO"],
    ]);
    for (const answer of answers.slice(0, 3)) {
      expect(answer).toContain(shown.host);
      expect(answer).toContain("16383");
      for (const { port } of cluster.primaries) expect(answer).not.toContain(String(port));
    }
    expect(answers[3]).toContain("cluster_state:ok\r\n");
    const id = (await client.ask("CLUSTER", "MYID")).split("\r\n")[1] ?? "";
    expect(answers[2]).toContain(`${id} ${shown.host}:${shown.port}@`);
    expect(
      await client.all([
        ["CLUSTER", "REPLICAS", id],
        ["CLUSTER", "REPLICAS", "x"],
        ["CLUSTER", "KEYSLOT", "foo{bar}"],
      ]),
    ).toEqual([...["*0\r\n", "-ERR Unknown node x\r\n", `:${slotOf(Buffer.from("bar"), 0, 3)}\r\n`]]);
    await client.all([
      ["SET", third, "1"],
      ["SET", first, "1"],
    ]);
    const slot = String(slotOf(Buffer.from(third), 0, third.length));
    expect(
      await client.all([
        ["CLUSTER", "COUNTKEYSINSLOT", slot],
        ["CLUSTER", "GETKEYSINSLOT", slot, "5"],
      ]),
    ).toEqual([...[":1\r\n", `*1\r\n$${third.length}\r\n${third}\r\n`]]);
    expect(await client.ask("INFO", "keyspace")).toContain("db0:keys=2,expires=0");
    expect(await client.ask("RANDOMKEY")).toMatch(/key\d/);
  });

  it("keys of several slots are CROSSSLOT where a command is one step", async () => {
    const client = await open();
    for (const words of [
      ["MSETNX", first, "1", second, "2"],
      ["RENAME", first, second],
      ["SUNION", first, second],
      ["WATCH", first, second],
    ])
      expect(await client.ask(...words)).toBe(crossSlot);
  });

  it("a command that nobody here has heard of goes where the server says its keys are", async () => {
    const client = await open();
    // found by MOVED, as an unknown command is
    const admin = await openTalk(cluster.primaries[0]?.port ?? 0);
    expect(await admin.ask("GET", third)).toMatch(/^-MOVED/);
    admin.close();
    expect(
      await client.all([
        ["SUBSTR", third, "0", "1"],
        ["NOSUCHCOMMAND", third],
        ["GET", third],
      ]),
    ).toEqual([
      ...["$0\r\n\r\n", `-ERR unknown command 'NOSUCHCOMMAND', with args beginning with: '${third}' \r\n`, "$-1\r\n"],
    ]);
  });
});
