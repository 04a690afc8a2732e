// Rotation against real Redis, a primary with a replica and a cluster of three, with the real adapters on the laptop account: in each
// of fifty schedules calls go wrong, rotators die and two run at once, while a client reads CURRENT and logs in with it at every node
// all the time. Time between two ticks is leapt over; nothing is waited for but AWS.
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { openKinds } from "@sallyport/aws/kinds";
import { openTable, tableClient } from "@sallyport/aws/table";
import { openVault, vaultClient } from "@sallyport/aws/vault";
import { Failure } from "@sallyport/core/failure";
import { keys, readAll, toItem } from "@sallyport/core/family";
import type { Kinds } from "@sallyport/core/kind";
import { ManagedPlace, ManagedUser, managedAt, managedSecret } from "@sallyport/core/managed";
import type { Store } from "@sallyport/core/ports";
import type { Probed } from "@sallyport/core/probe";
import { openRounds, type Rounded } from "@sallyport/core/round";
import { secret } from "@sallyport/core/secret";
import type { CachePlace } from "@sallyport/local/cache-user";
import type { AddedCache } from "@sallyport/local/caches";
import { prefix, sessionOf, table } from "@sallyport/local/deployment";
import { type Laptop, openLaptop } from "@sallyport/local/laptop";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { type Fault, faults, openDice } from "../rotation/machine.ts";

const minute = 60_000;
const schedules = 50;
const missing = (await haveBinaries()) ? undefined : `no Redis here: ${howToInstall}`;
const services = ["elasticache", "memorydb"] as const;

let laptop: Laptop;
let caches: readonly AddedCache[];
let ahead = 0;
const undo: (() => unknown)[] = [];
beforeEach(({ skip }) => skip(missing !== undefined, missing));

beforeAll(async () => {
  if (missing !== undefined) return;
  laptop = await openLaptop();
  undo.push(() => laptop.close());
  const { cacheUsers, databases, account, region } = laptop;
  cacheUsers.takes(0);
  for (const service of services) {
    const place: CachePlace = { service, accountId: account.id, region };
    cacheUsers.addUser(place, {
      id: "app",
      type: "password",
      passwords: [secret("made-by-hand-in-the-beginning")],
      tags: { "sallyport/managed": "true" },
    });
    cacheUsers.changeUser(place, "default", { type: "password", passwords: [secret("nobody-knows-this-one")] });
    cacheUsers.setGroup(place, "crew", ["default", "app"]);
  }
  caches = [
    await databases.addReplicationGroup({ id: "till", userGroups: ["crew"] }),
    await databases.addMemoryCluster({ name: "wares", shards: 3, acl: "crew" }),
  ];
  const statements = [{ actions: ["dynamodb:PutItem"], resources: ["*"] }];
  const { credentials } = account.addUser({ name: "owner", statements });
  const own = openTable({
    name: table,
    client: tableClient({ endpoint: laptop.aws.url, region, keys: async () => credentials }),
  });
  const spec = { aws: [{ types: ["elasticache", "memorydb"], regions: [region], tags: { "*": ["*"] } }] };
  await own.write({
    put: toItem(keys.discoveryConfig("all"), { name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }),
  });
  await laptop.runtime.invoke("discover", {});
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

/** A call of a rotator's: what is to go wrong with it does. A rotator that died makes no more calls. */
type Call = <T>(name: string, go: () => Promise<T>) => Promise<T>;
const never = new Promise<never>(() => {});
const openCalling = (plan: ReadonlyMap<number, Fault>, happened: string[]) => {
  let calls = 0;
  let dead = false;
  const died = Promise.withResolvers<void>();
  const call: Call = async (name, go) => {
    if (dead) return never;
    const fault = plan.get(calls++);
    if (fault) happened.push(`${fault.kind} ${fault.at} ${name}`);
    const fail = (): Promise<never> => {
      dead = fault?.kind === "crash";
      if (dead) died.resolve();
      const code = fault?.kind === "throttled" ? "too_many" : "unavailable";
      return dead ? never : Promise.reject(new Failure(code, `${name}: ${fault?.kind}`));
    };
    if (fault?.at === "before") return fail();
    const answer = await go();
    if (fault?.kind === "twice") return go();
    // late: as if somebody had stopped the clock of this one alone
    if (fault?.kind === "freeze") ahead += minute;
    return !fault || fault.kind === "freeze" ? answer : fail();
  };
  return { call, died: died.promise };
};

/** A container of the function with the adapters that are deployed, and the permissions of its role. */
const openContainer = (call: Call, seed: number) => {
  const { region, aws, account } = laptop;
  const credentials = sessionOf(account, "rotate");
  const connection = { region, endpoint: aws.url, keys: async () => credentials };
  const clock = { now: () => Date.now() + ahead };
  const dice = openDice(seed);
  const [dynamo, secrets] = [tableClient(connection), vaultClient(connection)];
  const real = openTable({ name: table, client: dynamo });
  const store: Store = {
    get: (key) => call("table.get", () => real.get(key)),
    getMany: (wanted) => call("table.getMany", () => real.getMany(wanted)),
    list: (pk, page) => call("table.list", () => real.list(pk, page)),
    write: (change) => call("table.write", () => real.write(change)),
    transact: (changes) => call("table.transact", () => real.transact(changes)),
  };
  const client = {
    send: (command: Parameters<typeof secrets.send>[0]) => call(command.constructor.name, () => secrets.send(command)),
  } as unknown as SecretsManagerClient;
  const kinds = openKinds({ clock, connection });
  const faulty = Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => {
      const { userState, apply } = kind;
      if (!userState || !apply) return [name, kind];
      const verbs = {
        userState: (user: ManagedUser) => call("userState", () => userState(user)),
        apply: (user: ManagedUser, passwords: Parameters<typeof apply>[1]) =>
          call("apply", () => apply(user, passwords)),
      };
      return [name, { ...kind, ...verbs }];
    }),
  ) as unknown as Kinds;
  const rounds = openRounds({
    store,
    vault: openVault({ client }),
    kinds: faulty,
    clock,
    random: { bytes: (count) => Uint8Array.from({ length: count }, () => dice.below(256)) },
    // who waits for a lease lets the time pass
    wait: async (ms) => {
      ahead += ms;
    },
    probing: (event) => call("probe", async () => (await laptop.runtime.invoke("probe", event)) as Probed),
    prefix,
  });
  const users = async (): Promise<readonly ManagedUser[]> => {
    const places = await readAll(real, ManagedPlace, keys.managedPlace("").pk);
    const all = await Promise.all(places.map(({ place }) => readAll(real, ManagedUser, managedAt(place).pk)));
    return all.flat();
  };
  return {
    users,
    run: (): Promise<Rounded> => rounds.run({ until: clock.now() + 45_000 }),
    close: () => {
      dynamo.destroy();
      secrets.destroy();
    },
  };
};

/** Reads CURRENT and logs in with it at the nodes in turn, until it is told to stop. */
const openLoop = () => {
  const { region, aws, account, rdsAuthority } = laptop;
  const statements = [{ actions: ["secretsmanager:GetSecretValue"], resources: ["*"] }];
  const { credentials } = account.addUser({ name: "client", statements });
  const secrets = new SecretsManagerClient({ region, endpoint: aws.url, credentials });
  const answers = new Map<string, number>();
  let [on, turn] = [true, 0];
  const logIn = async (): Promise<string> => {
    const cache = caches[turn++ % caches.length] as AddedCache;
    const front = cache.fronts[Math.floor(turn / caches.length) % cache.fronts.length];
    const name = managedSecret(prefix, {
      service: services[caches.indexOf(cache)] ?? "elasticache",
      region,
      account: account.id,
      id: "app",
    });
    const { SecretString: password = "" } = await secrets.send(new GetSecretValueCommand({ SecretId: name }));
    const client = new Redis({
      host: front?.host ?? "",
      port: front?.port ?? 0,
      tls: { ca: rdsAuthority.ca, servername: cache.host },
      username: "app",
      password,
      lazyConnect: true,
      retryStrategy: () => null,
      enableReadyCheck: false,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      return await client.ping();
    } catch (thrown) {
      return String(thrown);
    } finally {
      client.disconnect();
    }
  };
  const going = (async () => {
    while (on) {
      const answer = await logIn();
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  })();
  return {
    answers,
    stop: async () => {
      on = false;
      await going;
      secrets.destroy();
    },
  };
};

/** Ticks, a minute after each other, until every user is rotated; answers how many it took. */
const settle = async (tick: () => Promise<unknown>, since: number, users: () => Promise<readonly ManagedUser[]>) => {
  for (let ticks = 1; ticks <= 40; ticks++) {
    await tick();
    await laptop.cacheUsers.settled();
    ahead += minute;
    const all = await users();
    const done = ({ state, owner, lastSuccessAt = 0 }: ManagedUser): boolean =>
      state === "current" && owner === undefined && lastSuccessAt >= since;
    if (all.length === services.length && all.every(done)) return ticks;
  }
  throw new Error(`not rotated after 40 ticks: ${JSON.stringify(await users())}`);
};

it("the probe logs in at every node of a cluster, although the endpoint's name leads to one", {
  timeout: 60_000,
}, async () => {
  const [, wares] = caches;
  if (!wares) throw new Error("no cluster");
  const { cacheUsers, databases, region, account } = laptop;
  const place: CachePlace = { service: "memorydb", accountId: account.id, region };
  cacheUsers.changeUser(place, "app", { passwords: [secret("a-password-for-the-probe-alone")] });
  await cacheUsers.settled();
  const straighten = databases.bend(wares.host, [wares.fronts[0]?.host ?? ""]);
  const event = {
    protocol: "redis",
    endpoint: { host: wares.host, port: wares.port, verifyName: wares.host, roots: "amazon" },
    partition: "aws",
    region,
    database: "wares",
    user: "app",
    methods: "clear",
  };
  const ask = async (password: string) => (await laptop.runtime.invoke("probe", { ...event, password })) as Probed;
  try {
    const { nodes } = await ask("a-password-for-the-probe-alone");
    expect(nodes.map(({ result }) => result)).toEqual(wares.fronts.map(() => "ok"));
    expect(new Set(nodes.map(({ address }) => address))).toEqual(new Set(wares.fronts.map(({ host }) => host)));
    expect((await ask("another-password")).nodes).toMatchObject([{ result: "refused", tls: true }]);
  } finally {
    straighten();
  }
});

it("I1 I2 I4 I5 I6 S-44 fifty schedules of faults: CURRENT logs in at every node all the time", {
  timeout: 600_000,
}, async () => {
  const happened: string[] = [];
  const quiet = openContainer((_, go) => go(), 0);
  undo.push(quiet.close);
  await settle(quiet.run, 0, quiet.users);
  const loop = openLoop();
  let rotations = 0;
  try {
    for (let seed = 1; seed <= schedules; seed++) {
      const dice = openDice(seed);
      ahead += 15 * minute;
      const since = Date.now() + ahead;
      const storm = Array.from({ length: dice.between(1, 2) }, (_, index) => {
        const plan = new Map(Array.from({ length: dice.between(1, 3) }, () => [dice.below(45), dice.pick(faults)]));
        const { call, died } = openCalling(plan, happened);
        return { ...openContainer(call, seed * 10 + index), died };
      });
      await Promise.allSettled(storm.map(({ run, died }) => Promise.race([run(), died])));
      await laptop.cacheUsers.settled();
      ahead += minute;
      const ticks = await settle(quiet.run, since, quiet.users);
      for (const { close } of storm) close();
      rotations += services.length;
      expect({ seed, bad: [...loop.answers].filter(([answer]) => answer !== "PONG"), ticks: ticks < 40 }).toEqual({
        seed,
        bad: [],
        ticks: true,
      });
    }
  } finally {
    await loop.stop();
  }
  const logins = loop.answers.get("PONG") ?? 0;
  process.stdout.write(
    `rotation: ${schedules} schedules, ${happened.length} faults, ${rotations} rotations, ${logins} logins\n`,
  );
  expect(happened.length).toBeGreaterThan(schedules);
  expect(logins).toBeGreaterThan(2 * rotations);
  expect([...loop.answers.keys()]).toEqual(["PONG"]);
});
