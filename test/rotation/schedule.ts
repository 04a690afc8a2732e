// One schedule: a world, ticks that come early, late, twice or not at all, calls that go wrong, and people who do things by hand; then
// quiet, in which everything must come to rest as it should be (I4, I7). Everything is drawn from the seed.
import { keys } from "@sallyport/core/family";
import { isDue } from "@sallyport/core/rotation";
import { faults } from "./machine.ts";
import { type Mutation, minute, openWorld, secretName, type World } from "./world.ts";

export interface Plan {
  readonly mutation?: Mutation;
  /** How long things go wrong, in minutes. */
  readonly storm: number;
  /** The chance of a fault, per call. */
  readonly faulty: number;
  /** How often somebody does something by hand, about. */
  readonly hands: number;
  readonly users?: number;
}
export interface Ran {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly calls: number;
  readonly rotations: number;
}

/** It takes so long at most until all is well: the longest pause between two tries, twice. */
const quiet = 60 * minute;

type Hand = (world: World, id: string) => void;
const byHand = (world: World, id: string, act: () => void): void => {
  world.watch.disturb(id);
  act();
};
const nodesOf = (world: World) => Array.from({ length: world.nodes }, () => ({ reachable: true }));

/** What people do; each may come at any moment, also in the middle of a rotation. */
export const hands: Readonly<Record<string, Hand>> = {
  untags: ({ engine }, id) => {
    const user = engine.users.get(id);
    if (user) user.tagged = !user.tagged;
  },
  deletes: (world, id) => byHand(world, id, () => world.engine.users.delete(id)),
  recreates: (world, id) =>
    byHand(world, id, () => {
      world.engine.users.delete(id);
      world.engine.add(id, nodesOf(world).length);
    }),
  "switches to IAM": (world, id) =>
    byHand(world, id, () => {
      const user = world.engine.users.get(id);
      if (user) user.type = user.type === "iam" ? "password" : "iam";
    }),
  "changes passwords": (world, id) =>
    byHand(world, id, () => world.engine.change(id, [`by-hand-${world.dice.next()}`])),
  "deletes the secret": (world, id) =>
    byHand(world, id, () => {
      const secret = world.secrets.secrets.get(secretName(id));
      if (secret) secret.deletedAt ??= world.machine.now();
    }),
  "deletes the secret for good": (world, id) => byHand(world, id, () => world.secrets.forceDelete(secretName(id))),
  "takes pending off": (world, id) => void world.secrets.secrets.get(secretName(id))?.stages.delete("AWSPENDING"),
  "cuts a node off": ({ engine, machine, dice }, id) => {
    const node = dice.pick(engine.users.get(id)?.nodes ?? []);
    if (!node) return;
    node.reachable = false;
    machine.at(machine.now() + dice.between(1, 12) * minute, () => {
      node.reachable = true;
    });
  },
  asks: (world, id) => world.invoke(id),
};

/** The next tick, and how it comes. */
const keepTicking = (world: World, isStorm: () => boolean): void => {
  const { machine, dice, records } = world;
  const tick = (): void => {
    const crowd = isStorm() && dice.chance(0.15) ? dice.between(2, 3) : 1;
    for (let left = crowd; left > 0; left--) {
      const late = left === 1 && !isStorm() ? 0 : dice.below(5_000);
      machine.at(machine.now() + late, () => world.invoke(undefined, dice.between(-90_000, 90_000)));
    }
    const soon = machine.now() + minute;
    // a tick that finds nothing to do shows nothing: those are left out
    const busy = [...records.values()].some((record) => isDue(record, soon + 2 * minute) || record.owner !== undefined);
    const next = busy ? minute : 5 * minute;
    machine.at(machine.now() + (isStorm() && dice.chance(0.1) ? dice.between(1_000, 4 * minute) : next), tick);
  };
  machine.at(machine.now() + 1, tick);
};

/** What is not yet as it should be when everything has been quiet for long enough; undefined when all is. */
const unsettled = ({ engine, secrets, records, watch, machine }: World, id: string): string | undefined => {
  const user = engine.users.get(id);
  const record = records.get(id);
  const live = secrets.current(secretName(id)) !== undefined;
  if (!user?.tagged || user.type !== "password") {
    if (record && record.state !== "ended") return `${id} is not managed any more, and is ${record.state}`;
    return live && record ? `${id} is not managed any more, and its secret is still there` : undefined;
  }
  if (!record) return `${id} is not taken up`;
  if (record.state !== "current" || record.owner !== undefined) return `${id} is ${record.state}`;
  if (!watch.isArmed(id)) return `${id} was not promoted since something was done by hand`;
  return record.nextDueAt + record.failures * minute < machine.now() - 2 * minute ? `${id} is late` : undefined;
};

export const runSchedule = async (seed: number, plan: Plan): Promise<Ran> => {
  const shapes = [[1], [3], [2, 1]] as const;
  const caches = shapes[seed % shapes.length] ?? [1];
  const users = Array.from({ length: plan.users ?? (seed % 5 === 0 ? 2 : 1) }, (_, index) => `app-${index}`);
  const world = openWorld(seed, { caches, users }, plan.mutation);
  const { machine, dice, violations, watch } = world;
  await world.open();
  const startAt = machine.now();
  const stormUntil = startAt + plan.storm * minute;
  const isStorm = (): boolean => machine.now() < stormUntil;
  machine.onFault(() => (isStorm() && dice.chance(plan.faulty) ? dice.pick(faults) : undefined));
  for (let count = dice.below(2 * plan.hands + 1); count > 0; count--) {
    const act = hands[dice.pick(Object.keys(hands))];
    const id = dice.pick(users);
    machine.at(startAt + dice.below(plan.storm * minute), () => act?.(world, id));
  }
  keepTicking(world, isStorm);
  const open = (): string | undefined => users.map((id) => unsettled(world, id)).find((one) => one !== undefined);
  while (violations.length === 0 && (await machine.step(stormUntil + quiet)))
    if (!isStorm() && machine.now() > stormUntil + minute && open() === undefined) break;
  const left = open();
  if (violations.length === 0 && left !== undefined) violations.push(`I4: ${left} after an hour of quiet`);
  const rotations = world.table.items().filter((item) => item["name"] === "rotation.success").length;
  void watch;
  void keys;
  return { seed, violations, calls: machine.calls(), rotations };
};
