// Every client of Redis through both ways in, on a primary with its replica and on a cluster: as a user of IAM and as one whose
// password is rotated. One world for all.
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { ioredisSuite } from "./clients/ioredis.ts";
import { nodeRedisSuite } from "./clients/node-redis.ts";
import { redisCliSuite } from "./clients/redis-cli.ts";
import { redisPySuite } from "./clients/redis-py.ts";
import type { TunnelOf } from "./clients/way.ts";
import { type Counter, missing, openCounter, plainCache, rotated, tunnelledCache } from "./redis-world.ts";

let counter: Counter;
const tunnels: TunnelOf[] = [];
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  counter = await openCounter();
  await rotated(counter);
});
afterAll(async () => {
  for (const one of tunnels) await one.close();
  await counter?.close();
});

const here = (): Counter => counter;
for (const [database, user] of [
  ["till", "ann"],
  ["wares", "app"],
] as const) {
  const wish = { database, user };
  const tunnelled = tunnelledCache(here, `tom-${database}`, wish, (one) => tunnels.push(one));
  for (const way of [plainCache(here, `ana-${database}`, database, user), tunnelled]) {
    const ground = { way, database, user, counter: here };
    for (const suite of [redisCliSuite, ioredisSuite, nodeRedisSuite, redisPySuite]) suite(ground);
  }
}

it("nothing went wrong in the proxy meanwhile", () => {
  const lines = counter.world.proxies[0]!.log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
