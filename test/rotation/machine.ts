// A world of its own time, in which every call that a rotator makes is a step: it is done at once and alone, in an order drawn from a
// seed, and before and after it things may go wrong. Nothing here waits for real time.
import { Failure } from "@sallyport/core/failure";

/** What goes wrong, and whether the call had its effect (`after`) or not (`before`). */
export interface Fault {
  readonly at: "before" | "after";
  /** `crash`: whoever called is gone. `lost`: no answer in time. `twice`: sent again, since the first answer was lost. `freeze`: the answer comes late. */
  readonly kind: "crash" | "throttled" | "failed" | "lost" | "twice" | "freeze";
}
export const faults: readonly Fault[] = [
  ...(["crash", "throttled", "failed", "lost"] as const).flatMap((kind) => [
    { at: "before" as const, kind },
    { at: "after" as const, kind },
  ]),
  { at: "after", kind: "twice" },
  { at: "after", kind: "freeze" },
];

/** One invocation of a function. */
export interface Actor {
  readonly id: number;
  /** How wrong its clock is. */
  readonly skew: number;
  dead: boolean;
}

interface Task {
  readonly actor: Actor;
  readonly name: string;
  readonly since: number;
  readonly go: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (thrown: unknown) => void;
}
interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** Numbers from a seed (mulberry32). */
export const openDice = (seed: number) => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    below: (count: number): number => Math.floor(next() * count),
    between: (from: number, to: number): number => from + Math.floor(next() * (to - from + 1)),
    chance: (of: number): boolean => next() < of,
    pick: <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T,
  };
};
export type Dice = ReturnType<typeof openDice>;

/** No call is under way for longer: every client of ours gives up before. */
const longestCall = 10_000;
/** Nor is an invocation: Lambda ends it. */
export const longestLife = 120_000;

const words = { throttled: "too_many", failed: "unavailable", lost: "unavailable" } as const;

export const openMachine = (dice: Dice, startAt: number, check: () => void) => {
  let now = startAt;
  let calls = 0;
  const tasks: Task[] = [];
  const timers: Timer[] = [];
  let fault: (actor: Actor, name: string, call: number) => Fault | undefined = () => undefined;

  const at = (when: number, run: () => void): void => {
    // the order of two at the same time is the order they were set in
    let place = timers.length;
    while (place > 0 && (timers[place - 1] as Timer).at > when) place -= 1;
    timers.splice(place, 0, { at: when, run });
  };
  const drop = (actor: Actor): void => {
    actor.dead = true;
    for (let index = tasks.length - 1; index >= 0; index--) if (tasks[index]?.actor === actor) tasks.splice(index, 1);
  };
  /** Everything whose time has come happens. */
  const pass = (ms: number): void => {
    now += ms;
    for (let timer = timers[0]; timer && timer.at <= now; timer = timers[0]) {
      timers.shift();
      timer.run();
      check();
    }
  };

  const settle = async (task: Task): Promise<void> => {
    const { actor, resolve, reject } = task;
    const wrong = fault(actor, task.name, calls++);
    const fail = (): void => {
      if (wrong?.kind === "crash") drop(actor);
      if (wrong?.kind === "lost") pass(dice.between(1_000, longestCall));
      const code = words[(wrong?.kind ?? "failed") as keyof typeof words];
      if (!actor.dead) reject(new Failure(code, `${task.name}: ${wrong?.kind}`));
    };
    if (wrong?.at === "before") return fail();
    let outcome: { readonly value: unknown } | { readonly thrown: unknown };
    try {
      outcome = { value: await task.go() };
    } catch (thrown) {
      outcome = { thrown };
    }
    check();
    if (wrong?.kind === "twice") {
      pass(dice.between(500, 3_000));
      try {
        outcome = { value: await task.go() };
      } catch (thrown) {
        outcome = { thrown };
      }
      check();
    }
    const answer = (): void => {
      if (actor.dead) return;
      if ("thrown" in outcome) reject(outcome.thrown);
      else resolve(outcome.value);
    };
    if (wrong?.kind === "freeze") at(now + dice.between(15_000, 100_000), answer);
    else if (wrong && wrong.kind !== "twice") fail();
    else answer();
  };

  return {
    now: () => now,
    calls: () => calls,
    at,
    drop,
    onFault: (decide: typeof fault): void => {
      fault = decide;
    },
    /** A call of this actor's; `go` is what it does to the world, in one step. */
    call: <T>(actor: Actor, name: string, go: () => T | Promise<T>): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        if (actor.dead) return;
        tasks.push({ actor, name, since: now, go, resolve: resolve as (value: unknown) => void, reject });
      }),
    wait: (actor: Actor, ms: number): Promise<void> =>
      new Promise((resolve) => at(now + ms, () => (actor.dead ? undefined : resolve()))),
    /** One step: false when nothing is left to happen before `until`. */
    async step(until: number): Promise<boolean> {
      if (tasks.length === 0) {
        const next = timers[0];
        if (!next || next.at > until) return false;
        pass(next.at - now);
      } else {
        pass(dice.chance(0.01) ? dice.between(500, 4_000) : dice.between(1, 40));
        const old = tasks.findIndex(({ since }) => now - since > longestCall);
        const [task] = tasks.splice(old >= 0 ? old : dice.below(tasks.length), 1);
        if (task) await settle(task);
      }
      // until everybody has gone on to its next call
      await new Promise((resolve) => setImmediate(resolve));
      return true;
    },
  };
};
export type Machine = ReturnType<typeof openMachine>;
