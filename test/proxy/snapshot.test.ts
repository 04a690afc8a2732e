// What decisions are made from: one epoch, whatever moves meanwhile.
import { changeAccess, epochOf } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import type { Key, Store } from "@sallyport/core/ports";
import { openSnapshot } from "@sallyport/proxy/snapshot";
import { expect, it } from "vitest";
import { makeDatabase, makeRole } from "../core/make.ts";
import { openFakeStore } from "../fakes/store.ts";

const ana = { name: "ana", roles: ["dev"], traits: {}, state: "active", createdAt: 0, createdBy: "root", revision: 1 };
const concern = { user: "ana", database: "orders", token: "t".repeat(64) };

const fill = async () => {
  const store = openFakeStore();
  await changeAccess(store, { put: toItem(keys.user("ana"), ana) });
  await changeAccess(store, { put: toItem(keys.database("orders"), makeDatabase()) });
  await changeAccess(store, { put: toItem(keys.role("dev"), makeRole("dev", {})) });
  return store;
};

/** A store in which something happens right before a batch is read. */
const before = (store: Store, happen: () => Promise<unknown>): Store => ({
  ...store,
  getMany: async (wanted) => {
    await happen();
    return store.getMany(wanted);
  },
});

it("reads roles again only when the epoch moved", async () => {
  const store = await fill();
  const lists: string[] = [];
  const watched: Store = {
    ...store,
    list: async (pk, page) => {
      lists.push(pk);
      return store.list(pk, page);
    },
  };
  const snapshot = openSnapshot(watched, { patience: 1_000 });
  await snapshot.load();
  lists.length = 0;
  await snapshot.read(concern);
  await snapshot.read(concern);
  expect(lists).toEqual([]);
  await changeAccess(store, { put: toItem(keys.role("more"), makeRole("more", {})) });
  const facts = await snapshot.read(concern);
  expect(lists.sort()).toEqual(["access#lock", "access#role"]);
  expect([...facts.view.roles.keys()].sort()).toEqual(["dev", "more"]);
});

it("never mixes facts of two epochs, though every read is overtaken", async () => {
  const store = await fill();
  let round = 0;
  // user and role always change together: whoever sees one of them new and the other old has mixed
  const overtake = async (): Promise<void> => {
    round += 1;
    if (round > 3) return;
    const spec = { options: { max_connections: round } };
    await changeAccess(
      store,
      { put: toItem(keys.user("ana"), { ...ana, traits: { round: [String(round)] } }) },
      { put: toItem(keys.role("dev"), makeRole("dev", spec)) },
    );
  };
  const snapshot = openSnapshot(before(store, overtake), { patience: 1_000 });
  await snapshot.load();
  const { view, user } = await snapshot.read(concern);
  expect(view.roles.get("dev")?.options.max_connections).toBe(3);
  expect(user?.traits["round"]).toEqual(["3"]);
});

it("gives up when the epoch never rests", async () => {
  const store = await fill();
  const snapshot = openSnapshot(
    before(store, () => store.write({ update: keys.epoch(), add: { epoch: 1 } })),
    { patience: 1_000 },
  );
  await snapshot.load();
  await expect(snapshot.read(concern)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("change all the time"),
  });
});

it("waits out a burst of changes", async () => {
  const store = await fill();
  let left = 15;
  const burst = before(store, async () => {
    if (left-- > 0) await store.write({ update: keys.epoch(), add: { epoch: 1 } });
  });
  const snapshot = openSnapshot(burst, { patience: 1_000 });
  await snapshot.load();
  expect(await snapshot.read(concern)).toMatchObject({ user: { name: "ana" } });
  expect(left).toBeLessThan(0);
});

it("gives up on a table that hangs", async () => {
  const store = await fill();
  const snapshot = openSnapshot(store, { patience: 20 });
  await snapshot.load();
  const { promise, resolve } = Promise.withResolvers<void>();
  store.fault.hold(promise);
  await expect(snapshot.read(concern)).rejects.toMatchObject({ code: "unavailable" });
  resolve();
});

it("S-01 what can't be read is as good as absent", async () => {
  const store = await fill();
  await store.write({ put: { ...keys.user("ana"), v: 9 } });
  await store.write({ put: toItem(keys.database("orders"), { name: 7 }) });
  await store.write({ put: toItem(keys.role("dev"), { name: "dev", spec: "no" }) });
  const snapshot = openSnapshot(store, { patience: 1_000 });
  await snapshot.load();
  const facts = await snapshot.read(concern);
  expect(facts).toMatchObject({ user: undefined, database: undefined });
  expect(facts.view.roles.has("dev")).toBe(true);
  expect(facts.view.roles.get("dev")).toBeUndefined();
});

it("follows a table that was restored to an earlier epoch", async () => {
  const store = await fill();
  const snapshot = openSnapshot(store, { patience: 1_000 });
  await snapshot.load();
  await store.write({ put: toItem(keys.epoch(), { epoch: 1 }) });
  await store.write({ remove: keys.role("dev") });
  const { view } = await snapshot.read(concern);
  expect(view.epoch).toBe(1);
  expect(view.roles.size).toBe(0);
});

it("reads for any number of live sessions, at most 100 keys at once and each key once", async () => {
  const store = await fill();
  const batches: (readonly Key[])[] = [];
  const watched: Store = {
    ...store,
    getMany: async (wanted) => {
      batches.push(wanted);
      return store.getMany(wanted);
    },
  };
  const snapshot = openSnapshot(watched, { patience: 1_000 });
  await snapshot.load();
  const concerns = Array.from({ length: 250 }, (_, at) => ({ ...concern, token: String(at).padStart(64, "0") }));
  const epoch = epochOf(await store.get(keys.epoch()));
  const facts = await snapshot.readLive(concerns, epoch);
  expect(facts).toHaveLength(250);
  expect(facts.every(({ user, database }) => user?.name === "ana" && database?.name === "orders")).toBe(true);
  expect(batches.map((batch) => batch.length)).toEqual([100, 100, 52]);
});

it("S-08 reads what a full house needs, each read in its own time", async () => {
  const store = await fill();
  const slow: Store = {
    ...store,
    getMany: async (wanted) => {
      await new Promise((resolve) => setTimeout(resolve, 40));
      return store.getMany(wanted);
    },
  };
  const snapshot = openSnapshot(slow, { patience: 400 });
  await snapshot.load();
  const concerns = Array.from({ length: 3_000 }, (_, at) => ({ ...concern, token: String(at).padStart(64, "0") }));
  const facts = await snapshot.readLive([concern, ...concerns], snapshot.view().epoch);
  expect(facts).toHaveLength(3_001);
  expect(facts.every(({ user }) => user?.name === "ana")).toBe(true);
});

/** A store that tells which keys each batch asks for. */
const watched = (store: Store): { store: Store; batches: string[][] } => {
  const batches: string[][] = [];
  const getMany: Store["getMany"] = async (wanted) => {
    batches.push(wanted.map(({ sk }) => sk));
    return store.getMany(wanted);
  };
  return { store: { ...store, getMany }, batches };
};

it("needs one read for a login where nothing changed since another of the same person on the same database", async () => {
  const { store, batches } = watched(await fill());
  const snapshot = openSnapshot(store, { patience: 1_000 });
  await snapshot.load();
  const first = await snapshot.read(concern, await snapshot.show(concern.token));
  batches.length = 0;
  expect(await snapshot.read(concern, await snapshot.show(concern.token))).toEqual(first);
  expect(batches).toEqual([["epoch", "token"]]);
  // somebody else is not known by that
  const other = { ...concern, user: "eve" };
  expect((await snapshot.read(other, await snapshot.show(concern.token))).user).toBeUndefined();
});

it.each(["before the token is shown", "behind its back, while it is shown"] as const)(
  "S-08 knows nothing any more of an epoch that has passed: %s",
  async (when) => {
    const store = await fill();
    let changes = false;
    const change = async (): Promise<void> => {
      if (!changes) return;
      changes = false;
      await changeAccess(store, { put: toItem(keys.user("ana"), { ...ana, state: "disabled" }) });
    };
    const snapshot = openSnapshot(before(store, change), { patience: 1_000 });
    await snapshot.load();
    expect((await snapshot.read(concern, await snapshot.show(concern.token))).user?.state).toBe("active");
    changes = true;
    if (when.startsWith("before")) await change();
    const facts = await snapshot.read(concern, await snapshot.show(concern.token));
    expect(facts.user?.state).toBe("disabled");
    expect(facts.view.epoch).toBe(epochOf(await store.get(keys.epoch())));
  },
);

it("lets others work while it reads what thousands of sessions need", async () => {
  const store = openFakeStore();
  const names = Array.from({ length: 4_000 }, (_, at) => `user${at}`);
  for (let at = 0; at < names.length; at += 50)
    await changeAccess(
      store,
      ...names.slice(at, at + 50).map((name) => ({ put: toItem(keys.user(name), { ...ana, name }) })),
    );
  const snapshot = openSnapshot(store, { patience: 10_000 });
  await snapshot.load();
  let turns = 0;
  let over = false;
  const count = (): void => {
    turns += 1;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  const facts = await snapshot.readLive(
    names.map((user) => ({ ...concern, user })),
    await snapshot.epoch(),
  );
  over = true;
  expect(facts.map(({ user }) => user?.name)).toEqual(names);
  expect(turns).toBeGreaterThan(2);
});
