// A run of the world: ticks that come early, late, twice or not at all, calls that go wrong, and people who do things by hand; then
// quiet, in which everything must come to rest as it should be (I4, I7). All chance is drawn from the seed.
import { isDue } from "@sallyport/core/rotation";
import { type Fault, faults } from "./machine.ts";
import { type Mutation, minute, openWorld, secretName, type World } from "./world.ts";

/** What people do; each may come at any moment, also in the middle of a rotation. */
type Hand = (world: World, id: string) => void;
const byHand =
  (act: Hand): Hand =>
  (world, id) => {
    world.watch.disturb(id);
    act(world, id);
  };
const hands = {
  "changes the tag": ({ engine }, id) => {
    const user = engine.users.get(id);
    if (user) user.tagged = !user.tagged;
  },
  "deletes the user": byHand(({ engine }, id) => void engine.users.delete(id)),
  "makes the user anew": byHand(({ engine, nodes }, id) => void engine.add(id, nodes)),
  "switches to IAM or back": byHand(({ engine }, id) => {
    const user = engine.users.get(id);
    if (user) user.type = user.type === "iam" ? "password" : "iam";
  }),
  "changes the passwords": byHand(({ engine, dice }, id) => engine.change(id, [`by-hand-${dice.next()}`])),
  "deletes the secret": byHand(({ secrets, machine }, id) => {
    const secret = secrets.secrets.get(secretName(id));
    if (secret) secret.deletedAt ??= machine.now();
  }),
  "deletes the secret for good": byHand(({ secrets }, id) => secrets.forceDelete(secretName(id))),
  "puts a secret of theirs there": byHand(({ secrets }, id) => secrets.plant(secretName(id), "theirs")),
  "takes pending off": ({ secrets }, id) => void secrets.secrets.get(secretName(id))?.stages.delete("AWSPENDING"),
  "promotes pending": byHand(({ secrets }, id) => {
    const stages = secrets.secrets.get(secretName(id))?.stages;
    const [current, pending] = [stages?.get("AWSCURRENT"), stages?.get("AWSPENDING")];
    if (current !== undefined && pending !== undefined) stages?.set("AWSCURRENT", pending).set("AWSPREVIOUS", current);
  }),
  "cuts a node off": ({ engine, machine, dice }, id) => {
    const node = dice.pick(engine.users.get(id)?.nodes ?? []);
    if (!node) return;
    node.reachable = false;
    machine.at(machine.now() + dice.between(1, 12) * minute, () => {
      node.reachable = true;
    });
  },
  "asks for a rotation": (world, id) => world.invoke(id),
  "ticks twice more": (world) => {
    world.invoke();
    world.invoke();
  },
} as const satisfies Record<string, Hand>;
export type HandName = keyof typeof hands;
export const handNames = Object.keys(hands) as readonly HandName[];

export interface Plan {
  readonly mutation?: Mutation;
  /** How long it goes on before the quiet, in minutes. */
  readonly storm: number;
  /** Ticks come when they like. */
  readonly wild?: boolean;
  /** What goes wrong with the call of this number. */
  readonly fault?: (call: number, world: World, isStorm: boolean) => Fault | undefined;
  /** Somebody does this at the call of this number. */
  readonly hand?: { readonly name: HandName; readonly call: number };
  /** Or at these times, in milliseconds from the start. */
  readonly hands?: (world: World) => readonly { readonly name: HandName; readonly at: number; readonly id: string }[];
  readonly caches?: readonly number[];
  readonly users?: number;
  /** It may have to wait for its budget in the end. */
  readonly restless?: true;
}
export interface Ran {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly calls: number;
  readonly rotations: number;
  /** When all was well again, from the start. */
  readonly settledAfter: number;
  readonly happened: readonly string[];
  /** Of the first user's secret. */
  readonly versions: number;
}

/** Everything that can pause pauses for a quarter of an hour at most. */
const quietFor = 60 * minute;

const keepTicking = (world: World, isWild: () => boolean): void => {
  const { machine, dice, records } = world;
  const tick = (): void => {
    const wild = isWild();
    for (let left = wild && dice.chance(0.15) ? dice.between(2, 3) : 1; left > 0; left--)
      machine.at(machine.now() + (wild ? dice.below(5_000) : 0), () =>
        world.invoke(undefined, wild ? dice.between(-90_000, 90_000) : 0),
      );
    // a tick that finds nothing to do shows nothing: those are left out
    const soon = machine.now() + 3 * minute;
    const busy = [...records.values()].some((record) => record.owner !== undefined || isDue(record, soon));
    const pause = wild && dice.chance(0.1) ? dice.between(1_000, 4 * minute) : busy ? minute : 5 * minute;
    machine.at(machine.now() + pause, tick);
  };
  machine.at(machine.now() + 1, tick);
};

/** What is not as it should be once it has been quiet; undefined when all is. */
const unsettled = ({ engine, secrets, records, watch, machine }: World, id: string): string | undefined => {
  const user = engine.users.get(id);
  const record = records.get(id);
  const kept = secrets.secrets.get(secretName(id));
  // one of theirs: nothing can be done about it, and nothing may be
  if (kept?.tags.length === 0) return kept.versions.size === 1 ? undefined : `${id}: a secret of theirs was changed`;
  if (!user?.tagged || user.type !== "password") {
    if (record && record.state !== "ended") return `${id} is not managed any more, and is ${record.state}`;
    const live = record && secrets.current(secretName(id)) !== undefined;
    return live ? `${id} is not managed any more, and its secret is still there` : undefined;
  }
  if (!record) return `${id} is not taken up`;
  if (record.state !== "current" || record.owner !== undefined) return `${id} is ${record.state}`;
  if (!watch.isArmed(id)) return `${id} has no password that is known to work`;
  return record.nextDueAt < machine.now() - 2 * minute ? `${id} is late` : undefined;
};

export const runSchedule = async (seed: number, plan: Plan): Promise<Ran> => {
  const users = Array.from({ length: plan.users ?? 1 }, (_, index) => `app-${index}`);
  const world = openWorld(seed, { caches: plan.caches ?? [2], users }, plan.mutation);
  const { machine, violations } = world;
  const happened: string[] = [];
  await world.open();
  const startAt = machine.now();
  const stormUntil = startAt + plan.storm * minute;
  const isStorm = (): boolean => machine.now() < stormUntil;
  const act = (name: HandName, id: string): void => {
    happened.push(name);
    hands[name](world, id);
  };
  machine.onFault((_, __, call) => {
    if (call === plan.hand?.call) act(plan.hand.name, "app-0");
    const fault = plan.fault?.(call, world, isStorm());
    if (fault) happened.push(`${fault.kind} ${fault.at}`);
    return fault;
  });
  for (const { name, at, id } of plan.hands?.(world) ?? []) machine.at(startAt + at, () => act(name, id));
  keepTicking(world, () => plan.wild === true && isStorm());
  const open = (): string | undefined => users.map((id) => unsettled(world, id)).find((one) => one !== undefined);
  while (violations.length === 0 && (await machine.step(stormUntil + quietFor)))
    if (!isStorm() && machine.now() > stormUntil + minute && (plan.restless || open() === undefined)) break;
  const left = open();
  if (violations.length === 0 && left !== undefined && !plan.restless)
    violations.push(`I4: ${left} after an hour of quiet`);
  const rotations = world.table.items().filter((item) => item["name"] === "rotation.success").length;
  const settledAfter = machine.now() - startAt;
  return {
    seed,
    violations,
    calls: machine.calls(),
    rotations,
    settledAfter,
    happened,
    versions: world.watch.versions("app-0"),
  };
};

/** A schedule in which everything is left to chance. */
export const runAtRandom = (seed: number, mutation?: Mutation): Promise<Ran> => {
  const faulty = [0, 0.02, 0.05, 0.15][seed % 4] ?? 0;
  const users = seed % 5 === 0 ? 2 : 1;
  const storm = 22;
  return runSchedule(seed, {
    ...(mutation && { mutation }),
    storm,
    wild: true,
    users,
    caches: [[1], [3], [2, 1]][seed % 3] ?? [1],
    fault: (_, { dice }, isStorm) => (isStorm && dice.chance(faulty) ? dice.pick(faults) : undefined),
    hands: ({ dice }) =>
      Array.from({ length: dice.below(4) }, () => ({
        name: dice.pick(handNames),
        at: dice.below(storm * minute),
        id: `app-${dice.below(users)}`,
      })),
  });
};
