// What the proxy logs in to a cache with, on a whole laptop: the client's own password where its role lets it, a rotated one, an IAM
// token; and what somebody is told for whom there is nothing.
import { kindNames } from "@sallyport/core/database";
import { statementsAbroad } from "@sallyport/core/permission";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openRedisRaw, type RawRedis } from "./clients/redis-raw.ts";
import { openTunnelFor, type TunnelOf } from "./clients/way.ts";
import { bearerOf, type Counter, firstPassword, keeperPassword, missing, openCounter, rotated } from "./redis-world.ts";
import { plainly } from "./world.ts";

const abroad = "444455556666";
let counter: Counter;
const tunnels: TunnelOf[] = [];
const raws: RawRedis[] = [];
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  counter = await openCounter({ others: [abroad] });
  await counter.world.person("ana", ["caches"]);
  await counter.world.person("kim", ["keepers"]);
});
afterEach(() => {
  for (const one of raws.splice(0)) one.close();
});
afterAll(async () => {
  for (const one of tunnels) await one.close();
  await counter?.close();
});

const raw = async (place: Parameters<typeof openRedisRaw>[0]): Promise<RawRedis> => {
  const client = await openRedisRaw(place);
  raws.push(client);
  return client;
};
/** A connection through somebody's tunnel. */
const through = async (person: string, database: string, user: string): Promise<RawRedis> => {
  const made = await openTunnelFor(counter.world, person, { database, user });
  tunnels.push(made);
  return raw(made.tunnel);
};
const ask = (client: RawRedis, lines: number, ...commands: readonly (readonly string[])[]) => {
  client.say(...commands);
  return client.lines(lines);
};
const whoami = ["ACL", "WHOAMI"];

describe.each(["till", "wares"])("%s", (database) => {
  it("a user of IAM is logged in by a token, whatever password a client says that may not bring its own", async () => {
    const client = await through("ana", database, "ann");
    expect(await ask(client, 3, ["AUTH", "ann", "anything"], whoami)).toEqual(["+OK", "$3", "ann"]);
  });

  it("a client proves itself by its own password where its role lets it", async () => {
    const client = await through("kim", database, "keeper");
    expect(await ask(client, 3, ["AUTH", "keeper", keeperPassword], whoami)).toEqual(["+OK", "$6", "keeper"]);
  });

  it("a wrong password of its own is refused in the server's words", async () => {
    const client = await through("kim", database, "keeper");
    const [said = ""] = await ask(client, 1, ["AUTH", "keeper", "not-the-password-of-keeper"]);
    expect(said).toContain("WRONGPASS");
    expect(said).not.toContain("not-the-password");
  });

  it("whose role does not let it is told what to do, and its password goes nowhere", async () => {
    const client = await through("ana", database, "keeper");
    const [said = ""] = await ask(client, 1, ["AUTH", "keeper", keeperPassword], whoami);
    expect(said).toContain("there is nothing to log keeper in with");
    expect(said).toContain("the user keeper logs in by password, not by IAM");
    expect(said).toContain("sallyport/managed");
  });

  it("a managed user is logged in by the password that rotation keeps, and by no other", async () => {
    await rotated(counter);
    const client = await through("ana", database, "app");
    expect(await ask(client, 3, ["AUTH", "app", firstPassword], whoami)).toEqual(["+OK", "$3", "app"]);
    const place = plainly(
      counter.world.laptop,
      await bearerOf(await counter.world.person(`bo-${database}`, ["caches"]), { database, user: "app" }),
    );
    const stock = await raw(place);
    expect(await ask(stock, 3, ["AUTH", "app", place.password], whoami)).toEqual(["+OK", "$3", "app"]);
  });
});

it("a cache of another account is found and logged in to through the role there, in the person's name", async () => {
  const { world } = counter;
  const other = world.laptop.others[0]!;
  const deployment = {
    ...{
      partition: "aws",
      account: abroad,
      region: world.laptop.region,
      tableArn: "",
      discoverArn: "",
      secretPrefix: "",
    },
    assumable: [],
  };
  const principals = ["discover", "proxy"].map(
    (name) => `arn:aws:iam::${world.laptop.account.id}:role/sallyport-${name}`,
  );
  const { arn: role } = other.addRole({
    name: "sallyport-reach",
    trust: [{ principals }],
    statements: statementsAbroad(deployment, kindNames),
  });
  const place = { service: "elasticache", accountId: abroad, region: world.laptop.region } as const;
  world.laptop.cacheUsers.addUser(place, { id: "ann", type: "iam" });
  world.laptop.cacheUsers.setGroup(place, "crew", ["ann"]);
  await world.laptop.databases
    .of(other)
    .addReplicationGroup({ id: "vault", userGroups: ["crew"], tags: { env: "dev" } });
  await world.put({
    kind: "discovery_config",
    version: "v1",
    metadata: { name: "abroad" },
    spec: {
      aws: [{ types: ["elasticache"], regions: [world.laptop.region], tags: { "*": ["*"] }, assume_role_arn: role }],
    },
  });
  await world.discover();
  const client = await through("ana", "vault", "ann");
  expect(await ask(client, 2, whoami)).toEqual(["$3", "ann"]);
  expect(world.laptop.sts.assumptions().map(({ sessionName }) => sessionName)).toContain("sally-ana");
});
