// A run of rotate as the clock starts it, under its own permissions on the table: what it says of itself, which is what the alarms are
// made of, and what events it believes.
import { openVault } from "@sallyport/aws/vault";
import { keys } from "@sallyport/core/family";
import type { Kinds, ManagedSighting } from "@sallyport/core/kind";
import type { Rotated } from "@sallyport/core/managed";
import type { Probed, Probing } from "@sallyport/core/probe";
import { openRotate } from "@sallyport/functions/rotate";
import { expect, it } from "vitest";
import { openFakeKinds } from "../fakes/kinds.ts";
import { openFakeSecretsManager } from "../fakes/secrets-manager.ts";
import { aRotation } from "../stacks/price.ts";
import { context, openWorld } from "./world.ts";

const minute = 60_000;
const user = "elasticache/eu-west-1/111122223333/app";
const arn = "arn:aws:elasticache:eu-west-1:111122223333:replicationgroup:sessions";
const host = "master.sessions.abc.euw1.cache.amazonaws.com";
const endpoint = { host, port: 6379, verifyName: host, roots: "amazon" } as const;

/** One user of one cache of one node, which takes the passwords that AWS was last told. */
const open = async () => {
  const world = openWorld();
  const secrets = openFakeSecretsManager(() => world.clock.now());
  const calls: string[] = [];
  let passwords: readonly string[] = ["made by hand"];
  const sighting: ManagedSighting = {
    service: "elasticache",
    ...{ region: "eu-west-1", account: "111122223333", partition: "aws", id: "app", user: "app" },
    arn: "arn:aws:elasticache:eu-west-1:111122223333:user:app",
    caches: [{ arn, endpoints: [endpoint] }],
  };
  const none = openFakeKinds(new Map());
  const kinds: Kinds = {
    ...none,
    elasticache: {
      ...none.elasticache,
      async *managedUsers() {
        yield { users: [sighting], warnings: [] };
      },
      userState: async () => "active",
      apply: async (_, given) => {
        passwords = given.map((one) => one.reveal());
      },
    },
  };
  const probing = async (event: Probing): Promise<Probed> => {
    const taken = "password" in event && passwords.includes(event.password);
    const node = { address: "10.0.0.9", port: 6379, tls: true } as const;
    return { nodes: [taken ? { ...node, result: "ok" } : { ...node, result: "refused", reason: "WRONGPASS" }] };
  };
  const client = {
    send: (command: object) => {
      calls.push(command.constructor.name);
      return secrets.send(command);
    },
  } as unknown as NonNullable<Parameters<typeof openVault>[0]>["client"] & object;
  const rotate = openRotate(
    { ...world.worldOf("rotate"), probing },
    { kinds, vault: openVault({ client }), prefix: "t" },
    world.log,
  );
  const spec = { aws: [{ types: ["elasticache"], regions: ["eu-west-1"], tags: { "*": ["*"] } }] };
  await world.put([keys.discoveryConfig("all"), { name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }]);
  await world.addDatabases({ name: "sessions", kind: "elasticache", protocol: "redis", arn, endpoint });
  const lines = () => world.logged.map((line) => JSON.parse(line) as Record<string, unknown>);
  return {
    ...world,
    calls,
    rotate,
    tick: async (event: unknown = {}) => {
      world.logged.length = 0;
      const rotated = (await rotate(event, context)) as Rotated;
      world.clock.pass(minute);
      return rotated;
    },
    said: (message: string) => lines().filter((line) => line["message"] === message),
    forget: () => {
      passwords = ["somebody else's"];
    },
  };
};

it("says in one line a run how many there are, how late the latest is and how many fail", async () => {
  const world = await open();
  // the roll is called, the password is made and given, and in the next run it is tried and promoted
  await world.tick();
  expect(await world.tick()).toMatchObject({ managed: 1, due: 1, waiting: 1 });
  expect(world.said("rotate")).toMatchObject([{ level: "info", managed: 1, lagMs: expect.any(Number), failing: 0 }]);
  expect(await world.tick()).toMatchObject({ rotated: 1 });
  expect(await world.tick()).toMatchObject({ managed: 1, due: 0, rotated: 0, lagMs: 0 });
  expect(world.events("rotation.success")).toHaveLength(1);
  world.clock.pass(60 * minute);
  await world.tick();
  expect(world.said("rotate")).toMatchObject([{ lagMs: expect.toSatisfy((lag: number) => lag > 30 * minute) }]);
});

it("asks no more of Secrets Manager for one change than docs/cost.md reckons with", async () => {
  const world = await open();
  for (let run = 0; run < 3; run += 1) await world.tick();
  world.calls.length = 0;
  world.clock.pass(15 * minute);
  for (let run = 0; run < 2; run += 1) await world.tick();
  expect(world.said("rotate")).toMatchObject([{ rotated: 1 }]);
  expect(world.calls).toHaveLength(aRotation.secretCalls);
});

it("says which user's password was changed by somebody else, and gives it back", async () => {
  const world = await open();
  for (let run = 0; run < 3; run += 1) await world.tick();
  world.forget();
  world.clock.pass(15 * minute);
  await world.tick();
  expect(world.said("rotate.repaired")).toMatchObject([{ level: "error", user }]);
  expect(world.events("rotation.repair")).toHaveLength(1);
  world.clock.pass(5 * minute);
  for (let run = 0; run < 2; run += 1) await world.tick();
  expect(world.said("rotate")).toMatchObject([{ rotated: 1, failing: 0 }]);
  expect(world.said("rotate.repaired")).toEqual([]);
});

it.each<[string, unknown]>([
  ["a secret and a step of Secrets Manager's", { SecretId: "t/x", ClientRequestToken: "y", Step: "finishSecret" }],
  ["a user and a password", { user, password: "x" }],
  ["a secret's name", { user: "t/elasticache/eu-west-1/111122223333/user/app/password" }],
  ["a path", { user: "elasticache/eu-west-1/111122223333/../app" }],
  ["a list", [{ user }]],
  ["a schedule's event with somebody in it", { source: "aws.events", user }],
])("S-45 rotate, invoked by hand with %s, refuses it and touches nothing", async (_, event) => {
  const world = await open();
  const before = world.table.items();
  await expect(world.rotate(event, context)).rejects.toMatchObject({ code: "invalid" });
  expect([world.calls, world.table.items()]).toEqual([[], before]);
});

it("S-45 a name that no record has changes nothing", async () => {
  const world = await open();
  await expect(world.rotate({ user }, context)).rejects.toMatchObject({ code: "not_found" });
  expect(world.calls).toEqual([]);
});
