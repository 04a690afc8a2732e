// A table and an AWS of lists for tests of discovery: fresh for each test of the file that imports this.
import { AuditEvent } from "@sallyport/core/audit";
import { Database } from "@sallyport/core/database";
import { type Discovery, discover } from "@sallyport/core/discovery";
import { epochOf } from "@sallyport/core/epoch";
import { keys, readAll, toItem } from "@sallyport/core/family";
import { beforeEach } from "vitest";
import { makeSighting, openFakeKinds, type World } from "../fakes/kinds.ts";
import { type FakeStore, openFakeStore } from "../fakes/store.ts";
import { now } from "./make.ts";

export let store: FakeStore;
export let world: World;
let at: number;
beforeEach(() => {
  store = openFakeStore();
  world = new Map();
  at = now;
});

let noise = 0;
const random = { bytes: (count: number) => Uint8Array.from({ length: count }, () => noise++ % 256) };
export const run = (more: Partial<Discovery> = {}) =>
  discover({ store, kinds: openFakeKinds(world), clock: { now: () => at++ }, random, ...more });
export const configure = (name: string, ...aws: object[]) =>
  store.write({
    put: toItem(keys.discoveryConfig(name), { name, spec: { aws }, createdAt: 1, createdBy: "root", revision: 1 }),
  });
export const ask = (name: string, more: object = {}) =>
  store.write({
    put: toItem(keys.dynamicDatabase(name), {
      name,
      kind: "rds",
      account: "111122223333",
      region: "eu-west-1",
      identifier: "orders",
      ...more,
    }),
  });
export const everything = { types: ["rds"], regions: ["eu-west-1"] };
export const here = "rds/eu-west-1/self";
export const see = (...names: string[]) => world.set(here, [{ sightings: names.map((name) => makeSighting(name)) }]);
export const names = async () => (await readAll(store, Database, "database#")).map(({ name }) => name);
export const full = (name: string) => `${name}-rds-eu-west-1-111122223333`;
export const epoch = async () => epochOf(await store.get(keys.epoch()));
export const events = () =>
  store
    .items()
    .filter(({ pk }) => pk.startsWith("event#"))
    .map((item) => AuditEvent.parse(item));
export const lineOf = (lines: Awaited<ReturnType<typeof run>>, listing: string) =>
  lines.find((line) => line.listing === listing);
