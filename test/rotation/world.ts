// Rotation as it is deployed (round, roster, rotator, the real vault adapter) on fakes whose every call is a step of the machine: the
// table, Secrets Manager, ElastiCache's users, the probe. And what people do to all of these by hand.
import { openVault } from "@sallyport/aws/vault";
import type { Database } from "@sallyport/core/database";
import { toFailure } from "@sallyport/core/failure";
import { keys, toItem } from "@sallyport/core/family";
import type { Kinds, ManagedSighting } from "@sallyport/core/kind";
import { type ManagedUser, managedKey, managedSecret } from "@sallyport/core/managed";
import type { Change, Store } from "@sallyport/core/ports";
import type { Probed, ProbedNode, Probing } from "@sallyport/core/probe";
import { openRounds, type RoundParts } from "@sallyport/core/round";
import { makeDatabase } from "../core/make.ts";
import { openFakeKinds } from "../fakes/kinds.ts";
import { openFakeSecretsManager } from "../fakes/secrets-manager.ts";
import { openFakeStore } from "../fakes/store.ts";
import { openEngine } from "./engine.ts";
import { type Actor, type Dice, longestLife, openDice, openMachine } from "./machine.ts";
import { openWatch } from "./watch.ts";

export const minute = 60_000;
const [region, account] = ["eu-west-1", "111122223333"];
const startAt = Date.UTC(2026, 0, 5, 9);

/** What a broken rotation would do instead: for showing that it would be noticed. */
export interface Mutation {
  readonly next: NonNullable<RoundParts["next"]>;
}
export interface Shape {
  /** The caches and how many nodes each has; the user is in all of them. */
  readonly caches: readonly number[];
  readonly users: readonly string[];
}

const arnOf = (cache: number): string => `arn:aws:elasticache:${region}:${account}:replicationgroup:cache-${cache}`;
const hostOf = (cache: number): string => `master.cache-${cache}.abc.euw1.cache.amazonaws.com`;
const refOf = (id: string) => ({ service: "elasticache", region, account, id, user: id }) as const;
export const secretName = (id: string): string => managedSecret("t", refOf(id));

/** Where invocations of the function run one after the other: it keeps what it saw from one to the next. */
interface Container {
  readonly skew: number;
  readonly rounds: ReturnType<typeof openRounds>;
  actor?: Actor | undefined;
  spoilt?: boolean;
}

export const openWorld = (seed: number, shape: Shape, mutation?: Mutation) => {
  const dice: Dice = openDice(seed);
  const violations: string[] = [];
  const machine = openMachine(dice, startAt, () => watch.check());
  const engine = openEngine(machine, dice, {
    applied: (user, passwords) => watch.applied(user, passwords),
    disturbed: (id) => watch.disturb(id),
  });
  const secrets = openFakeSecretsManager(machine.now, (change) => watch.secret(change));
  const table = openFakeStore();
  const watch = openWatch({
    engine,
    caches: shape.caches.length,
    secrets,
    now: machine.now,
    recordOf: (id) => records.get(id),
    say: (text) => violations.push(text),
  });
  /** The records as they are in the table. */
  const records = new Map<string, ManagedUser>();
  let actors = 0;

  const changed = (change: Change, actor: Actor): void => {
    if (!("put" in change) || !change.put.pk.startsWith("managed#elasticache")) return;
    const record = change.put as unknown as ManagedUser;
    watch.record(actor, records.get(record.id), record);
    records.set(record.id, record);
  };
  const call = <T>(who: () => Actor, name: string, go: (actor: Actor) => T | Promise<T>): Promise<T> => {
    const actor = who();
    return machine.call(actor, name, () => go(actor));
  };
  const storeOf = (who: () => Actor): Store => ({
    get: (key) => call(who, "table.get", () => table.get(key)),
    getMany: (wanted) => call(who, "table.getMany", () => table.getMany(wanted)),
    list: (pk, page) => call(who, "table.list", () => table.list(pk, page)),
    write: (change) =>
      call(who, "table.write", async (actor) => {
        const item = await table.write(change);
        changed(change, actor);
        return item;
      }),
    transact: (changes) =>
      call(who, "table.transact", async (actor) => {
        await table.transact(changes);
        for (const change of changes) changed(change, actor);
      }),
  });

  const sightings = (): ManagedSighting[] =>
    [...engine.users.values()]
      // of a user that is being changed AWS does not tell the tags
      .filter(({ tagged, type, state }) => (tagged || state === "modifying") && type === "password")
      .map(({ id, state }) => ({
        ...(state === "modifying" && { withheld: true as const }),
        ...refOf(id),
        arn: `arn:aws:elasticache:${region}:${account}:user:${id}`,
        partition: "aws",
        caches: shape.caches.map((_, cache) => ({
          arn: arnOf(cache),
          endpoints: [{ host: hostOf(cache), port: 6379, verifyName: hostOf(cache), roots: "amazon" as const }],
        })),
      }));
  const kindsOf = (who: () => Actor): Kinds => {
    const fake = openFakeKinds(new Map());
    return {
      ...fake,
      elasticache: {
        ...fake.elasticache,
        async *managedUsers() {
          yield await call(who, "aws.listUsers", () => ({ users: sightings(), warnings: [] }));
        },
        userState: ({ id }) =>
          call(who, "aws.describeUser", (actor) => {
            const state = engine.state(id);
            watch.looked(actor, id, state);
            return state;
          }),
        apply: ({ id }, passwords) =>
          call(who, "aws.modifyUser", (actor) => {
            watch.applying(actor, id);
            engine.apply(
              id,
              passwords.map((one) => one.reveal()),
            );
          }),
      },
    };
  };

  const nodesOf = (host: string): number[] => {
    const cache = shape.caches.findIndex((_, index) => hostOf(index) === host);
    const before = shape.caches.slice(0, cache).reduce((sum, count) => sum + count, 0);
    return Array.from({ length: shape.caches[cache] ?? 0 }, (_, index) => before + index);
  };
  const probe = (event: Probing): Probed => {
    if (!("password" in event)) throw new Error("the probe is to log in");
    const nodes = nodesOf(event.endpoint.host).map((index): ProbedNode => {
      const result = engine.login(event.user, index, event.password);
      return {
        address: `10.0.0.${index}`,
        port: 6379,
        result,
        tls: result !== "unreachable",
        reason: "as the test has it",
      };
    });
    watch.probed(
      event.user,
      event.password,
      event.endpoint.host,
      nodes.every(({ result }) => result === "ok"),
    );
    return { nodes: nodes as [ProbedNode, ...ProbedNode[]] };
  };

  const partsOf = (who: () => Actor): RoundParts => ({
    store: storeOf(who),
    vault: openVault({
      client: {
        send: (command: object) =>
          call(who, `secrets.${command.constructor.name}`, (actor) =>
            watch.sending(actor, () => secrets.send(command)),
          ),
      } as unknown as NonNullable<Parameters<typeof openVault>[0]>["client"] & object,
    }),
    kinds: kindsOf(who),
    clock: { now: () => machine.now() + who().skew },
    random: { bytes: (count) => Uint8Array.from({ length: count }, () => dice.below(256)) },
    wait: (ms) => machine.wait(who(), ms),
    probing: (event) => call(who, "probe", () => probe(event)),
    prefix: "t",
    ...mutation,
  });

  const containers: Container[] = [];
  const openContainer = (skew: number): Container => {
    const holder = { skew } as Container;
    const rounds = openRounds(partsOf(() => holder.actor as Actor));
    return Object.assign(holder, { rounds });
  };

  /** One invocation, in a container that is free or in a new one. */
  const invoke = (user?: string, skew = 0): void => {
    const free = containers.filter(({ actor, spoilt }) => actor === undefined && !spoilt);
    const container = free.length > 0 && dice.chance(0.7) ? dice.pick(free) : openContainer(skew);
    if (!containers.includes(container)) containers.push(container);
    const actor: Actor = { id: ++actors, skew: container.skew, dead: false };
    container.actor = actor;
    machine.at(machine.now() + longestLife, () => {
      if (container.actor !== actor) return;
      // over its time, or dead before: Lambda opens another one
      container.spoilt = true;
      machine.drop(actor);
    });
    const name = user === undefined ? {} : { user: `elasticache/${region}/${account}/${user}` };
    const until = machine.now() + actor.skew + (user === undefined ? 45_000 : 15_000);
    container.rounds.run({ until, ...name }).then(
      () => {
        container.actor = undefined;
      },
      (thrown: unknown) => {
        container.actor = undefined;
        const failure = toFailure(thrown);
        // what neither the fakes nor the code foresaw
        if (failure.code === "internal") violations.push(`an invocation threw: ${String(failure.cause)}`);
      },
    );
  };

  const database = (cache: number): Database =>
    makeDatabase({
      name: `cache-${cache}`,
      kind: "elasticache",
      protocol: "redis",
      arn: arnOf(cache),
      endpoint: { host: hostOf(cache), port: 6379, verifyName: hostOf(cache), roots: "amazon" },
    });
  const open = async (): Promise<void> => {
    const spec = { aws: [{ types: ["elasticache"], regions: [region], tags: { "*": ["*"] } }] };
    await table.write({
      put: toItem(keys.discoveryConfig("all"), { name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }),
    });
    for (const cache of shape.caches.keys()) {
      const one = database(cache);
      await table.write({ put: toItem(keys.database(one.name), one) });
    }
    const nodes = shape.caches.reduce((sum, count) => sum + count, 0);
    for (const id of shape.users) {
      engine.add(id, nodes);
      watch.track(id, secretName(id));
    }
  };
  return {
    dice,
    machine,
    engine,
    secrets,
    table,
    watch,
    violations,
    records,
    open,
    invoke,
    recordKey: (id: string) => managedKey(refOf(id)),
    nodes: shape.caches.reduce((sum, count) => sum + count, 0),
  };
};
export type World = ReturnType<typeof openWorld>;
