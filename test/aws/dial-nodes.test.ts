// Nodes that a cluster names by itself: which of them may be dialled.
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { type Dialling, openUpstream } from "@sallyport/aws/dial";
import { loadRoots } from "@sallyport/aws/roots";
import { secret } from "@sallyport/core/secret";
import { afterEach, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";

const roots = await loadRoots();
const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

const listen = async (server: Server): Promise<number> => {
  servers.push(server);
  server.on("connection", (socket) => void socket.on("error", () => undefined).resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
};
const upstreamOf = (more: Pick<Dialling, "database" | "resolve">) =>
  openUpstream({
    credential: async () => ({ as: "password", user: "reader", password: secret("x"), methods: "clear" }),
    roots,
    allow: ["127.0.0.0/8"],
    ...more,
  });

it("S-35 dials a node that a cluster names only at an address a database may have, or in the endpoint's own domain", async () => {
  const port = await listen(createServer());
  const asked: string[] = [];
  const answers: Readonly<Record<string, string>> = {
    "orders-0001-001.orders.abc.cache.amazonaws.com": "127.0.0.1",
    "orders-0002-001.orders.abc.cache.amazonaws.com": "169.254.169.254",
  };
  const resolve = async (name: string) => {
    asked.push(name);
    return [answers[name] ?? "127.0.0.9"];
  };
  const endpoint = { ...{ host: "clustercfg.orders.abc.cache.amazonaws.com", port }, roots: "amazon" } as const;
  const database = { ...makeDatabase({ endpoint: { ...endpoint, verifyName: endpoint.host } }), vpcId: "vpc-1" };
  const redis = upstreamOf({ resolve, database: { ...database, protocol: "redis" } });
  for (const address of ["127.0.0.1", "orders-0001-001.orders.abc.cache.amazonaws.com"]) {
    const { socket, peer } = await redis.tcp({ address, port });
    expect(peer).toEqual({ address: "127.0.0.1", port });
    socket.destroy();
  }
  const foreign = ["orders-0002-001.orders.abc.cache.amazonaws.com", "169.254.169.254", "node.evil.example.com"];
  for (const address of [
    ...foreign,
    "orders.abc.cache.amazonaws.com.evil.example.com",
    "xorders.abc.cache.amazonaws.com",
  ])
    await expect(redis.tcp({ address, port }), address).rejects.toMatchObject({ code: "upstream_unreachable" });
  expect(asked.some((name) => name.includes("evil") || name.startsWith("x"))).toBe(false);
  // PostgreSQL names no nodes
  const postgres = upstreamOf({ resolve, database: { ...database, protocol: "postgres" } });
  await expect(postgres.tcp({ address: "127.0.0.1", port })).rejects.toMatchObject({ code: "upstream_unreachable" });
});
