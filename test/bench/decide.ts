// How long a change keeps the proxy busy: 5,000 live sessions of 1,000 people over 1,000 roles are decided again after one role
// changed. The table is in memory, so that the proxy's own work is what is measured; nothing may keep the event loop from its
// bytes meanwhile. A process of its own, which prints one line of JSON.
import { performance } from "node:perf_hooks";
import { decide } from "@sallyport/core/access";
import { changeAccess } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import type { Item, Key, Store } from "@sallyport/core/ports";
import type { ConnectToken } from "@sallyport/core/token";
import { openSessions, type SessionParts } from "@sallyport/proxy/session";
import { openSnapshot } from "@sallyport/proxy/snapshot";
import { openWatch } from "@sallyport/proxy/watch";
import { makeDatabase, makeRole } from "../core/make.ts";

const many = { sessions: 5_000, roles: 1_000, users: 1_000, databases: 500 } as const;
const rolesEach = 5;
const rounds = 13;
const pageSize = 500;
const now = Date.now();

/** A table that answers at once and is asked for nothing but what a proxy reads. */
const openMemory = (): Store => {
  const items = new Map<string, Map<string, Item>>();
  const of = (pk: string): Map<string, Item> => {
    const found = items.get(pk) ?? new Map<string, Item>();
    items.set(pk, found);
    return found;
  };
  const get = ({ pk, sk }: Key): Item | undefined => items.get(pk)?.get(sk);
  return {
    get: async (key) => get(key),
    getMany: async (wanted) => wanted.map(get),
    list: async (pk, { after } = {}) => {
      const all = [...of(pk).values()];
      const from = Number(after ?? 0);
      const next = from + pageSize;
      return { items: all.slice(from, next), ...(next < all.length ? { after: String(next) } : {}) };
    },
    write: async () => undefined,
    transact: async (changes) => {
      for (const change of changes)
        if ("put" in change) of(change.put.pk).set(change.put.sk, change.put);
        else if ("update" in change) {
          const { pk, sk } = change.update;
          const epoch = Number(get(change.update)?.["epoch"] ?? 0) + Number(change.add?.["epoch"] ?? 0);
          of(pk).set(sk, { pk, sk, v: 1, epoch });
        }
    },
  };
};

const named = (what: string, at: number): string => `${what}-${at}`;
const roleAt = (at: number, round = 0) =>
  makeRole(named("role", at), {
    allow: {
      db_labels: { env: ["dev", "test"], team: [named("team", at % 50)] },
      db_users: ["reader", "writer"],
      db_names: ["*"],
    },
    deny: { db_labels: { secret: ["yes"] }, db_users: ["root"] },
    options: { max_session_ttl: "30h", max_connections: 10 + round },
  });
const databaseAt = (at: number) =>
  makeDatabase({
    name: named("db", at),
    labels: { env: "dev", team: named("team", at % 50) },
    resourceId: named("db", at),
  });

const fill = async (store: Store): Promise<void> => {
  const puts = [
    ...Array.from({ length: many.roles }, (_, at) => toItem(keys.role(named("role", at)), roleAt(at))),
    ...Array.from({ length: many.users }, (_, at) => {
      const roles = Array.from({ length: rolesEach }, (__, nth) => named("role", (at + 50 * nth) % many.roles));
      const user = {
        name: named("user", at),
        roles,
        traits: {},
        state: "active",
        createdAt: 0,
        createdBy: "root",
        revision: 1,
      };
      return toItem(keys.user(user.name), user);
    }),
    ...Array.from({ length: many.databases }, (_, at) => toItem(keys.database(named("db", at)), databaseAt(at))),
  ];
  await changeAccess(store, ...puts.map((put) => ({ put })));
};

const parts = (snapshot: ReturnType<typeof openSnapshot>): SessionParts => ({
  sink: {
    append: () => "accepted",
    settled: async () => {},
    fill: () => 0,
    head: () => undefined,
    seal: () => undefined,
    close: async () => {},
  },
  clock: { now: Date.now },
  steady: { now: () => performance.now() },
  random: { bytes: (count) => crypto.getRandomValues(new Uint8Array(count)) },
  view: snapshot.view,
});

interface Took {
  readonly ms: number;
  readonly stallMs: number;
  readonly heldMs: number;
}

/** The longest that the event loop did nothing else while `work` lasted: on the wall, and of that what this thread itself used. */
const watchLoop = async (work: () => Promise<void>): Promise<Took> => {
  let stallMs = 0;
  let heldMs = 0;
  let last = performance.now();
  let used = process.threadCpuUsage();
  let over = false;
  const look = (): void => {
    const at = performance.now();
    const { user, system } = process.threadCpuUsage(used);
    stallMs = Math.max(stallMs, at - last);
    heldMs = Math.max(heldMs, (user + system) / 1000);
    last = at;
    used = process.threadCpuUsage();
    if (!over) setImmediate(look);
  };
  setImmediate(look);
  const startedAt = performance.now();
  await work();
  const ms = performance.now() - startedAt;
  await new Promise((resolve) => setImmediate(resolve));
  over = true;
  look();
  return { ms, stallMs, heldMs };
};

const store = openMemory();
await fill(store);
const snapshot = openSnapshot(store, { patience: 10_000 });
await snapshot.load();
const made = parts(snapshot);
const sessions = openSessions(made);
const say = (message: string): void => void process.stderr.write(`${message}\n`);
const log = { info: say, warn: say, error: say };
let steadily = 0;
const watch = openWatch({ snapshot, sessions, steady: { now: () => steadily }, log });

for (let at = 0; at < many.sessions; at++) {
  const user = at % many.users;
  const database = databaseAt(user % 50);
  const token: ConnectToken = {
    ...{
      id: named("token", at).padEnd(64, "0"),
      user: named("user", user),
      database: database.name,
      protocol: "postgres",
    },
    ...{ dbUser: "reader", dbName: "orders", session: "s".repeat(64), loginExpiresAt: now + 1e8, issuedAt: now },
    ...{ expiresAt: now + 1e8, way: { bearer: 20 } },
  };
  await store.transact([{ put: toItem(keys.connectToken(token.id), token) }]);
  const facts = await snapshot.read({ user: token.user, database: token.database, token: token.id });
  if (!facts.user || !facts.database) throw new Error("a fact is missing");
  const ask = { user: "reader", name: "orders", since: now };
  const grant = decide({ user: facts.user, loginExpiresAt: now + 1e8 }, facts.view.roles, [], facts.database, ask, now);
  if ("denied" in grant) throw new Error(grant.reasons.map(({ text }) => text).join());
  sessions.open(
    { token, user: facts.user, database, grant, epoch: facts.view.epoch },
    { way: "plain", client: "127.0.0.1:1" },
  );
}

const took: Took[] = [];
for (let round = 1; round <= rounds; round++) {
  await changeAccess(store, { put: toItem(keys.role(named("role", round)), roleAt(round, round)) });
  steadily += 3_000;
  took.push(await watchLoop(watch.check));
  const { epoch } = snapshot.view();
  const left = sessions.all().filter((one) => one.epoch() !== epoch || one.live.ended.aborted);
  if (left.length > 0) throw new Error(`${left.length} sessions were not decided again, or were cut`);
}
// the first rounds are the compiler's
const later = took.slice(3);
const worst = (pick: (one: Took) => number): number => Math.max(...later.map(pick));
const median = (pick: (one: Took) => number): number =>
  later.map(pick).sort((a, b) => a - b)[later.length >> 1] ?? Number.NaN;
const told = {
  ...{ ms: median(({ ms }) => ms), worstMs: worst(({ ms }) => ms) },
  ...{ stallMs: median(({ stallMs }) => stallMs), heldMs: worst(({ heldMs }) => heldMs) },
};
process.stdout.write(`${JSON.stringify(told)}\n`);
