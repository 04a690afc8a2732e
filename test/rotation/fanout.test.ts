// Ten thousand managed users in ten account-regions, at the rates that AWS gives: within a quarter of an hour every password is
// changed, and nobody is throttled. The code is the deployed one; the services are fakes with AWS's own buckets, and time is the
// test's.
import { openVault } from "@sallyport/aws/vault";
import { Failure } from "@sallyport/core/failure";
import { toItem } from "@sallyport/core/family";
import type { Kinds, UserState } from "@sallyport/core/kind";
import { type ManagedUser, managedKey, managedSecret, placeOf } from "@sallyport/core/managed";
import type { Item, Key, Store } from "@sallyport/core/ports";
import { openRounds } from "@sallyport/core/round";
import { expect, it } from "vitest";
import { openFakeKinds } from "../fakes/kinds.ts";
import { openFakeSecretsManager } from "../fakes/secrets-manager.ts";
import { openDice } from "./machine.ts";

const minute = 60_000;
const interval = 15 * minute;
const places = 10;
const usersEach = 1_000;
const startAt = Date.UTC(2026, 0, 5, 9);

/** Time that goes on when nobody has anything left to do now. */
const openTime = () => {
  let now = startAt;
  // by the millisecond
  const queue = new Map<number, (() => void)[]>();
  const heap: number[] = [];
  const push = (at: number): void => {
    let index = heap.push(at) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if ((heap[parent] as number) <= at) break;
      heap[index] = heap[parent] as number;
      index = parent;
    }
    heap[index] = at;
  };
  const pop = (): number | undefined => {
    const [first, last] = [heap[0], heap.pop()];
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child += 1;
      if ((heap[child] as number) >= last) break;
      heap[index] = heap[child] as number;
      index = child;
    }
    heap[index] = last;
    return first;
  };
  const wait = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const at = now + Math.max(1, Math.ceil(ms));
      const known = queue.get(at);
      if (known) return void known.push(resolve);
      queue.set(at, [resolve]);
      push(at);
    });
  return {
    now: () => now,
    wait,
    async until(end: number): Promise<void> {
      for (let at = heap[0]; at !== undefined && at <= end; at = heap[0]) {
        pop();
        now = at;
        for (const go of queue.get(at) ?? []) go();
        queue.delete(at);
        await new Promise((resolve) => setImmediate(resolve));
      }
      now = end;
    },
  };
};

/** A bucket as AWS has it: what comes when it is empty is throttled. */
const openBucket = (perSecond: number, burst: number, now: () => number) => {
  let [tokens, filledAt, most] = [burst, now(), 0];
  return {
    throttled: 0,
    take(): boolean {
      tokens = Math.min(burst, tokens + ((now() - filledAt) * perSecond) / 1000);
      filledAt = now();
      if (tokens < 1) {
        this.throttled += 1;
        return false;
      }
      tokens -= 1;
      most += 1;
      return true;
    },
    taken: () => most,
  };
};

/** A table by partition, quick with many items; events are only counted. */
const openQuickStore = (delay: () => Promise<void>) => {
  const partitions = new Map<string, Map<string, Item>>();
  let events = 0;
  const at = ({ pk }: Key) => partitions.get(pk) ?? partitions.set(pk, new Map()).get(pk) ?? new Map<string, Item>();
  const put = (item: Item, equals?: Readonly<Record<string, unknown>>): void => {
    if (item.pk.startsWith("event#")) {
      events += 1;
      return;
    }
    const known = at(item).get(item.sk);
    if (equals && !Object.entries(equals).every(([name, value]) => known?.[name] === value))
      throw new Failure("conflict", "changed meanwhile");
    at(item).set(item.sk, item);
  };
  const store: Store = {
    get: async (key) => {
      await delay();
      return at(key).get(key.sk);
    },
    getMany: async (wanted) => wanted.map((key) => at(key).get(key.sk)),
    list: async (pk) => {
      await delay();
      return { items: [...at({ pk, sk: "" }).values()] };
    },
    write: async (change) => {
      await delay();
      if (!("put" in change)) throw new Error("puts alone");
      put(change.put, change.if?.equals);
      return change.put;
    },
    transact: async (changes) => {
      await delay();
      for (const change of changes) if ("put" in change) put(change.put, change.if?.equals);
    },
  };
  return { store, put, events: () => events, all: (pk: string) => [...at({ pk, sk: "" }).values()] };
};

const regionOf = (place: number): string => `eu-west-${place + 1}`;
const record = (place: number, index: number): ManagedUser => {
  const placed = {
    service: "elasticache",
    region: regionOf(place),
    account: "111122223333",
    id: `app-${index}`,
  } as const;
  const host = `master.cache.abc.${placed.region}.cache.amazonaws.com`;
  return {
    ...placed,
    kind: "elasticache",
    arn: `arn:aws:elasticache:${placed.region}:${placed.account}:user:${placed.id}`,
    partition: "aws",
    user: placed.id,
    secret: managedSecret("t", placed),
    caches: [{ arn: "a", database: "cache", endpoints: [{ host, port: 6379, verifyName: host, roots: "amazon" }] }],
    state: "current",
    fence: 0,
    revision: 0,
    // their turns are spread over the interval, as hashes of names are
    nextDueAt: startAt + Math.floor(((index + 0.5) * interval) / usersEach),
    lastSuccessAt: startAt - interval + Math.floor(((index + 0.5) * interval) / usersEach),
    failures: 0,
    budget: { scheduled: [], spare: [] },
    misses: 0,
    createdAt: startAt - interval,
  };
};

/** A quarter of an hour, and what the last of them needs to come to its end. */
const window = interval + 5 * minute;

/** `secretsEach`: Secrets Manager's 50 a second are each account-region's and for every call; else the deployment's alone, for changes. */
const simulate = async (secretsEach: boolean) => {
  const time = openTime();
  const dice = openDice(1);
  const delay = (from: number, to: number) => time.wait(dice.between(from, to));
  const table = openQuickStore(() => delay(4, 12));
  const secrets = openFakeSecretsManager(time.now);
  const users = new Map<string, { state: UserState; passwords: readonly string[]; node: readonly string[] }>();
  const changes = Array.from({ length: places }, () => openBucket(5, 10, time.now));
  const buckets = Array.from({ length: secretsEach ? places : 1 }, () => openBucket(50, 50, time.now));
  for (let place = 0; place < places; place++) {
    for (let index = 0; index < usersEach; index++) {
      const user = record(place, index);
      table.put(toItem(managedKey(user), user));
      const passwords = [`password-${index}`];
      users.set(user.arn, { state: "active", passwords, node: passwords });
      secrets.give(user.secret, `password-${index}`);
    }
    const name = placeOf(record(place, 0));
    table.put(toItem({ pk: "managed#", sk: name }, { place: name }));
  }
  // the roll was just called, and there is nobody new
  table.put(toItem({ pk: "run#rotation", sk: "roster" }, { startedAt: startAt + 100 * minute }));

  const fake = openFakeKinds(new Map());
  const kinds: Kinds = {
    ...fake,
    elasticache: {
      ...fake.elasticache,
      userState: async ({ arn }) => {
        await delay(20, 60);
        return users.get(arn)?.state ?? "gone";
      },
      apply: async ({ arn, region }, passwords) => {
        await delay(50, 150);
        const user = users.get(arn);
        if (!changes[Number(region.split("-").at(-1)) - 1]?.take()) throw new Failure("too_many", "Throttling");
        if (user?.state !== "active") throw new Failure("conflict", "modifying");
        user.state = "modifying";
        user.passwords = passwords.map((one) => one.reveal());
        void delay(10_000, 100_000).then(() => Object.assign(user, { state: "active", node: user.passwords }));
      },
    },
  };
  let probes = 0;
  const rounds = openRounds({
    store: table.store,
    vault: openVault({
      client: {
        send: async (command: { constructor: { name: string }; input: { SecretId?: string; Name?: string } }) => {
          await delay(10, 40);
          const reads = /^(Get|Describe)/.test(command.constructor.name);
          const name = command.input.SecretId ?? command.input.Name ?? "";
          const bucket = buckets[secretsEach ? Number(/eu-west-(\d+)/.exec(name)?.[1]) - 1 : 0];
          if ((secretsEach || !reads) && !bucket?.take())
            throw Object.assign(new Error("Rate exceeded"), { name: "ThrottlingException" });
          return secrets.send(command);
        },
      } as unknown as NonNullable<NonNullable<Parameters<typeof openVault>[0]>["client"]>,
    }),
    kinds,
    clock: { now: time.now },
    random: { bytes: (count) => Uint8Array.from({ length: count }, () => dice.below(256)) },
    wait: time.wait,
    probing: async (event) => {
      await delay(200, 600);
      probes += 1;
      const user = users.get(
        `arn:aws:elasticache:${event.region}:111122223333:user:${"user" in event ? event.user : ""}`,
      );
      const ok = "password" in event && user?.node.includes(event.password) === true;
      return { nodes: [{ address: "10.0.0.1", port: 6379, result: ok ? "ok" : "refused", tls: true }] };
    },
    prefix: "t",
  });

  let [under, failed] = [0, 0];
  const tick = (at: number): void => {
    if (at > startAt + window) return;
    under += 1;
    void rounds.run({ until: time.now() + 45_000 }).then((run) => {
      under -= 1;
      failed += run.rotated.failed;
    });
    void time.wait(minute).then(() => tick(at + minute));
  };
  tick(startAt);
  await time.until(startAt + window);
  const records = Array.from({ length: places }, (_, place) =>
    table.all(`managed#${placeOf(record(place, 0))}`),
  ).flat();
  // whoever was due in the first quarter of an hour, and how long after its time it was done
  const late = (records as unknown as ManagedUser[]).map(({ lastSuccessAt = 0, nextDueAt }) =>
    lastSuccessAt < startAt ? Number.POSITIVE_INFINITY : lastSuccessAt - (nextDueAt - interval),
  );
  return {
    rotated: late.filter(Number.isFinite).length,
    latest: Math.round(Math.max(...late) / 1000),
    failed,
    under,
    probes,
    events: table.events(),
    throttled: [...changes, ...buckets].reduce((sum, { throttled }) => sum + throttled, 0),
  };
};

it.each([
  ["every call to Secrets Manager counted, 50 a second in each account-region", true],
  ["all secrets in one region, which takes 50 changes a second", false],
])("10,000 users in 10 account-regions are rotated every 15 minutes: %s", { timeout: 300_000 }, async (_, each) => {
  const before = process.cpuUsage();
  const { under, ...result } = await simulate(each);
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(`rotation: ${JSON.stringify(result)}, ${((user + system) / 1e6).toFixed(1)} s of CPU\n`);
  expect(result).toMatchObject({ rotated: places * usersEach, throttled: 0, failed: 0 });
  // AWS takes up to 100 s to change a user here, and each tick is a minute after the other
  expect(result.latest).toBeLessThan(5 * 60);
  expect(under).toBeLessThanOrEqual(2);
});
