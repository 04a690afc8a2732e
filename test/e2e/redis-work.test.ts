// What becomes of sessions on Redis: who may say what, locks, a promotion, the login that is due again before AWS ends a connection,
// and what the audit says of it all. By bytes where no client lets one do it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { auditBucket } from "@sallyport/local/deployment";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { recordsOf } from "../contract/audit-sink.ts";
import { eventually, within } from "./attack.ts";
import { openAuditor } from "./auditor.ts";
import { lock, openOwnTable, type Table } from "./owner.ts";
import { openGuests } from "./redis-guests.ts";
import { type Counter, keeperPassword, missing, openCounter } from "./redis-world.ts";

/** For a process in which waiting for an hour takes 30 ms. */
const fastHours = `
  const wait = globalThis.setTimeout;
  globalThis.setTimeout = (run, ms, ...rest) => wait(run, ms >= 3_600_000 ? ms / 120_000 : ms, ...rest);`;

let counter: Counter;
let table: Table;
let folder = "";
const guests = openGuests(() => counter);
const { plain, tunnelled, open, enter, ask } = guests;
const undo: (() => Promise<unknown>)[] = [guests.close];
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  folder = await mkdtemp(join(tmpdir(), "sally-redis-"));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  counter = await openCounter();
  undo.push(() => counter.close());
  table = openOwnTable(counter.world.laptop);
  undo.push(async () => table.close());
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

/** The session in which a command with this first argument was said. */
const sessionOf = async (argument: string) => {
  let lines: ReturnType<typeof recordsOf> = [];
  await eventually(
    "its lines",
    async () => {
      const all = recordsOf(await counter.world.laptop.trail());
      const mine = all.find(({ args }) => Array.isArray(args) && args[0] === argument);
      lines = all.filter(({ session }) => session === mine?.session);
      return lines.some(({ event }) => event === "session.end");
    },
    20_000,
  );
  return lines;
};
const ownAuth =
  "own auth is not allowed by your roles (ask for a token for the other user, or for a role with own_auth)";

describe.each([
  ["plain", plain],
  ["tunnel", tunnelled],
] as const)("through the %s", (short, placeOf) => {
  it("the audit shows each command with its keys, other arguments to 256 bytes and then how long they are", async () => {
    const client = open(await placeOf(`ada-${short}`));
    const key = `audited:${short}:${"k".repeat(300)}`;
    await client.set(key, "v".repeat(1_000));
    await client.mget(key, "other");
    await expect(client.lpush(key, "x")).rejects.toThrow("WRONGTYPE");
    await client.quit();
    expect(await sessionOf(key)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ event: "session.start", user: `ada-${short}`, dbUser: "ann", protocol: "redis" }),
        expect.objectContaining({
          type: "command",
          command: "set",
          args: [key, { text: "v".repeat(256), bytes: 1_000 }],
        }),
        expect.objectContaining({ type: "command", command: "mget", args: [key, "other"] }),
        expect.objectContaining({ type: "error", command: "lpush", text: expect.stringMatching(/^WRONGTYPE/) }),
      ]),
    );
  });

  it("S-05 nobody becomes another user: by AUTH, in HELLO, in a transaction; the session goes on as it was", async () => {
    const client = await enter(await placeOf(`mia-${short}`));
    const answers = await ask(
      client,
      ["AUTH", "keeper", keeperPassword],
      ["HELLO", "3", "AUTH", "keeper", keeperPassword],
      ["MULTI"],
      ["AUTH", "keeper", keeperPassword],
      ["SET", `s05:${short}`, "1"],
      ["EXEC"],
      ["EXISTS", `s05:${short}`],
    );
    expect(answers).toEqual([
      `-NOPERM this connection is "ann"'s: ${ownAuth}`,
      `-NOPERM this connection is "ann"'s: ${ownAuth}`,
      ...["+OK", "-NOPERM AUTH is not allowed inside a transaction (say it before MULTI or after EXEC)", "+QUEUED"],
      ...["-EXECABORT Transaction discarded because of previous errors.", ":0"],
    ]);
    client.say(["ACL", "WHOAMI"]);
    expect(await client.lines(2)).toEqual(["$3", "ann"]);
  });

  it("S-27 commands that are not for people are refused by name, and the session goes on", async () => {
    const client = await enter(await placeOf(`rex-${short}`));
    const refused = [
      ...["MONITOR", "PSYNC ? -1", "SYNC", "REPLICAOF NO ONE", "REPLCONF x", "SLAVEOF a 1", "MIGRATE a 6379 k 0 9"],
      ...["CONFIG GET *", "DEBUG SLEEP 0", "ACL SETUSER ann +@all", "ACL DELUSER ann", "CLUSTER RESET", "MODULE LIST"],
      ...["SHUTDOWN", "SAVE", "BGSAVE", "BGREWRITEAOF", "FAILOVER"],
    ];
    const answers = await ask(client, ...refused.map((said) => said.split(" ")));
    const named = refused.map((said) =>
      expect.stringMatching(new RegExp(`^-NOPERM ${said.split(" ")[0]}[ A-Z]* is not allowed through this proxy \\(`)),
    );
    expect(answers).toEqual(named);
    expect(await ask(client, ["PING"])).toEqual(["+PONG"]);
  });

  it("S-27 inline commands, RESET, CLIENT REPLY and QUIT in the middle leave a session whose it is", async () => {
    const key = `s27:${short}`;
    const client = await enter(await placeOf(`rita-${short}`));
    client.send(`SET ${key} 1\r\nINCR ${key}\r\n`);
    expect(await client.lines(2)).toEqual(["+OK", ":2"]);
    client.say(["MULTI"], ["INCR", key], ["RESET"], ["ACL", "WHOAMI"], ["GET", key]);
    expect(await client.lines(7)).toEqual(["+OK", "+QUEUED", "+RESET", "$3", "ann", "$1", "2"]);
    client.say(["CLIENT", "REPLY", "OFF"], ["INCR", key], ["CLIENT", "REPLY", "ON"], ["GET", key]);
    expect(await client.lines(3)).toEqual(["+OK", "$1", "3"]);
    client.say(["INCR", key], ["QUIT"], ["INCR", key]);
    expect(await client.rest()).toBe(":4\r\n+OK\r\n");
    expect(await open(await placeOf(`rita-${short}`)).get(key)).toBe("4");
  });

  it("a lock cuts a live session that waits for an answer, with its reason, in Redis' words", async () => {
    const person = `lou-${short}`;
    const client = open(await placeOf(person));
    await client.ping();
    const cut = expect(client.blpop(`nothing:${short}`, 0)).rejects.toThrow(`for ${person}`);
    await lock(counter.world, person, { user: person });
    await within(15_000, "the cut", cut);
  });

  it("a lock tells a subscriber why before it ends", async () => {
    const person = `lea-${short}`;
    const client = await enter(await placeOf(person));
    client.say(["SUBSCRIBE", "news"]);
    await client.lines(6);
    await lock(counter.world, person, { user: person });
    expect(await within(15_000, "the cut", client.rest())).toMatch(new RegExp(`^-\\S+ .*for ${person}`));
  });

  it("after a replica was promoted it works at the new primary, by the same endpoint and token", async () => {
    const place = await placeOf(`flo-${short}`);
    const before = open(place);
    await before.set(`promoted:${short}`, "before");
    const at = (await counter.till.redis.isPrimary(0)) ? 1 : 0;
    const ended = new Promise((resolve) => before.once("close", resolve));
    await counter.till.promote(at);
    await within(15_000, "the end of the session there was", ended);
    const writes = (): Promise<boolean> =>
      open(place)
        .set(`promoted:${short}`, "after")
        .then(
          () => true,
          () => false,
        );
    await eventually("it writes", writes, 20_000);
    expect(await counter.till.redis.nodes[at]?.command("GET", `promoted:${short}`)).toBe("after");
  }, 40_000);
});

it("while a replica of a cluster is promoted a session works on, on the connection that it has, and loses nothing", async () => {
  const { laptop, discover } = counter.world;
  const spec = { id: "depot", userGroups: ["crew"], tags: { env: "dev" } };
  const depot = await laptop.databases.addReplicationGroup({ ...spec, clusterMode: "enabled", shards: 1, replicas: 1 });
  await discover();
  const client = open(await plain("flo-plain", { database: "depot" }));
  const answers: number[] = [];
  let stop = false;
  const counting = (async () => {
    while (!stop) answers.push(await client.incr("counted"));
  })();
  await eventually("it counts", () => answers.length > 5, 15_000);
  await depot.promote(1);
  const then = answers.length;
  await eventually("it counts on", () => answers.length > then + 20, 15_000);
  stop = true;
  await counting;
  expect(answers).toEqual(answers.map((_, at) => at + 1));
  expect(await depot.redis.isPrimary(1)).toBe(true);
  expect(Number(await depot.redis.nodes[1]?.command("GET", "counted"))).toBe(answers.length);
}, 60_000);

it("S-27 scripts are the role's to allow", async () => {
  await counter.world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "scriptless" },
    spec: { allow: { db_labels: { env: "dev" }, db_users: ["ann"] }, options: { scripts: false } },
  });
  const client = await enter(await plain("sam", { roles: ["scriptless"] }));
  const scripts = ["EVAL;return 1;0", "EVALSHA;x;0", "FUNCTION;LIST", "FCALL;f;0", "SCRIPT;FLUSH"];
  const answers = await ask(client, ...scripts.map((words) => words.split(";")), ["PING"]);
  const denied = "-NOPERM script is not allowed by your roles (ask for a role that allows scripts)";
  expect(answers).toEqual([...scripts.map(() => denied), "+PONG"]);
});

it("S-05 where the role allows it a client logs in as another user of the role by its own password, and is told of as that user", async () => {
  const client = await enter(await plain("kim", { roles: ["keepers"] }));
  client.say(["AUTH", "keeper", keeperPassword], ["ACL", "WHOAMI"], ["SET", "kims", "1"]);
  expect(await client.lines(4)).toEqual(["+OK", "$6", "keeper", "+OK"]);
  const [wrong, stranger, back] = await ask(
    client,
    ...[
      ["AUTH", "keeper", "a wrong one"],
      ["AUTH", "stranger", "x"],
      ["AUTH", "ann", "x"],
    ],
  );
  expect(wrong).toBe("-WRONGPASS invalid username-password pair or user is disabled.");
  expect(stranger).toContain('db_user "stranger" is not in [ann, app, keeper]');
  expect(back).toBe("+OK");
  client.say(["ACL", "WHOAMI"], ["QUIT"]);
  expect(await client.lines(3)).toEqual(["$3", "ann", "+OK"]);
  expect(await sessionOf("kims")).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ type: "command", command: "auth", user: "keeper" }),
      expect.objectContaining({ type: "command", command: "SET", user: "keeper", args: ["kims", "1"] }),
      expect.objectContaining({ type: "error", command: "auth", text: expect.stringMatching(/^WRONGPASS/) }),
      expect.objectContaining({ type: "refused", command: "auth" }),
    ]),
  );
});

it("a connection by IAM is logged in again before AWS ends it after twelve hours, between transactions, and goes on", async () => {
  const file = join(folder, "fast.mjs");
  await writeFile(file, fastHours);
  const fast = await counter.world.laptop.startProxy({ NODE_OPTIONS: `--import=file://${file}` });
  try {
    const client = await enter({ ...(await plain("nia")), port: fast.ports.redis });
    const admitted = (): number => counter.till.fronts.reduce((sum, one) => sum + one.counters().admitted, 0);
    const first = admitted();
    client.say(["MULTI"], ["SET", "renewed", "0"]);
    expect(await client.lines(2)).toEqual(["+OK", "+QUEUED"]);
    client.say(["EXEC"]);
    expect(await client.lines(2)).toEqual(["*1", "+OK"]);
    await eventually("three logins more", () => admitted() >= first + 3, 30_000);
    client.say(["INCR", "renewed"], ["ACL", "WHOAMI"]);
    expect(await client.lines(3)).toEqual([":1", "$3", "ann"]);
  } finally {
    await counter.world.laptop.stopProxy(fast);
  }
}, 60_000);

it("S-43 the audit of sessions on Redis is whole and signed", async () => {
  const sessions = async () =>
    (await table.all()).filter(
      ({ pk, reason }) => pk.startsWith("session#") && !String(reason).startsWith("not begun"),
    );
  await eventually("all ended", async () => (await sessions()).every(({ state }) => state === "ended"), 20_000);
  const ended = await sessions();
  expect(ended.length).toBeGreaterThan(10);
  await eventually(
    "all of them",
    () => {
      const lines = counter.world.laptop.s3
        .objects(auditBucket)
        .flatMap(({ body }) => recordsOf(body.toString().split("\n").slice(0, -1)));
      const ends = new Set(lines.flatMap(({ event, session }) => (event === "session.end" ? session : [])));
      return ended.every(({ sk }) => ends.has(sk));
    },
    20_000,
  );
  const auditor = await openAuditor(counter.world.laptop, folder);
  await auditor.fetch(ended);
  const { output } = await auditor.verify();
  for (const { sk } of ended) expect(output.split("\n").find((line) => line.startsWith(sk))).toMatch(/whole, signed$/);
}, 60_000);

it("nothing went wrong in the proxies meanwhile", () => {
  const lines = counter.world.laptop
    .proxies()
    .flatMap((proxy) => proxy.log().split("\n"))
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
