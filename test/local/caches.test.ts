import { connect } from "node:tls";
import { expect, test } from "vitest";
import { ground } from "./redis-account.ts";

const open = ground(["elasticache", "elasticache-serverless"]);
const sampleOf = (kind: "elasticache" | "elasticache-serverless") => {
  const found = open().sample[kind];
  if (!found) throw new Error(`no ${kind}`);
  return found;
};
const verifies = (host: string, port: number, servername: string): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect({ host, port, servername, ca: open().ca }, () => {
      answer(true);
      socket.destroy();
    }).once("error", () => answer(false));
  });

test("a replication group has a primary and a reader endpoint, and both follow a failover", async () => {
  const { cache, users } = sampleOf("elasticache");
  const { hosts, login } = open();
  const reader = cache.host.replace("master", "replica");
  const [first, second] = cache.fronts.map(({ host }) => host);
  expect(cache.host).toMatch(/^master\.orders\.[a-z0-9]{6}\.euw1\.cache\.amazonaws\.com$/);
  expect([hosts.get(cache.host), hosts.get(reader)]).toEqual([[first], [second]]);
  for (const name of [cache.host, reader, ...Object.keys(cache.hosts)])
    expect(await verifies(first ?? "", cache.port, name)).toBe(true);
  expect(await verifies(first ?? "", cache.port, "elsewhere.euw1.cache.amazonaws.com")).toBe(false);
  const session = connect({ host: first ?? "", port: cache.port, servername: cache.host, ca: open().ca });
  const ended = new Promise((answer) => session.once("close", answer).resume());
  await new Promise((answer) => session.once("secureConnect", answer));

  await cache.promote(1);
  expect([hosts.get(cache.host), hosts.get(reader)]).toEqual([[second], [first]]);
  await ended;
  // users are those they were, on both
  for (const at of [0, 1])
    expect(await login({ cache, users }, users.own, users.passwords.own.reveal(), at)).toBe(users.own);
});

test("a serverless cache shows one node that owns all slots, and readers at its next port", async () => {
  const { cache } = sampleOf("elasticache-serverless");
  expect(cache.host).toMatch(/^carts-[a-z0-9]{6}\.serverless\.euw1\.cache\.amazonaws\.com$/);
  expect(open().hosts.get(cache.host)).toHaveLength(1);
  const [node] = cache.redis.nodes;
  expect(await node?.command("CLUSTER", "SLOTS")).toEqual([
    [
      0,
      16_383,
      [cache.host, cache.port, expect.any(String), expect.any(Array)],
      [cache.host, cache.port + 1, expect.any(String), expect.any(Array)],
    ],
  ]);
  expect(cache.fronts.map(({ port }) => port)).toEqual([cache.port, cache.port + 1]);
  expect(await verifies(cache.fronts[0]?.host ?? "", cache.port, cache.host)).toBe(true);
  expect(await verifies(cache.fronts[0]?.host ?? "", cache.port, cache.host.replace("carts", "other"))).toBe(false);
});
