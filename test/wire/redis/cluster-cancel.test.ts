// A cancel of a session on a real cluster: whichever node it waits at.
import { once } from "node:events";
import { connect } from "node:net";
import { secret } from "@sallyport/core/secret";
import type { Upstream } from "@sallyport/wire/protocol";
import { redis } from "@sallyport/wire/redis/redis";
import { afterAll, describe, expect, it } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { grantFor } from "../door.ts";
import { type RedisCluster, stage, startCluster } from "./servers.ts";
import { talkOver } from "./talk.ts";

describe("a cancel on a cluster", () => {
  let cluster: RedisCluster;
  stage(async () => {
    cluster = await startCluster({ primaries: 3 });
  });
  afterAll(() => cluster?.stop());

  const upstream = (down?: number): Upstream => ({
    database: { name: "orders", endpoint: makeDatabase().endpoint },
    tcp: async (at) => {
      const port = at?.port ?? cluster.primaries[0]?.port ?? 0;
      if (port === down) throw new Error("nobody is there");
      const socket = connect({ port, host: "127.0.0.1" });
      await once(socket, "connect");
      return { socket, peer: { address: "127.0.0.1", port } };
    },
    secure: async (socket) => socket,
    credential: async () => ({ as: "password", user: "default", password: secret("pw"), methods: "clear" }),
  });
  /** How many connections of the session each node has. */
  const counted = (): Promise<readonly number[]> =>
    Promise.all(
      cluster.primaries.map(async ({ talk }) => (await talk.ask("CLIENT", "LIST")).split("name=canceled").length - 1),
    );

  it.each([
    ["ends the session's connection on every node that it has one to", undefined],
    ["that one node can't be reached for is one on the others, and fails", 0],
  ])("S-37 %s", async (_, unreached) => {
    const grant = grantFor({ user: "ada" });
    const server = await redis.login(upstream(), grant, { version: 3, name: "canceled" });
    const talk = talkOver(server.socket);
    try {
      await talk.ask("CLIENT", "SETNAME", "canceled");
      await talk.ask("MSET", "a", "1", "b", "2", "c", "3", "foo", "4");
      expect(await counted()).toEqual([1, 1, 1]);
      const blocked = talk.ask("BLPOP", "list:foo", "0").catch(() => "closed");
      const down = unreached === undefined ? undefined : cluster.primaries[unreached]?.port;
      const cancelled = redis.cancel(server, upstream(down));
      if (down === undefined) await cancelled;
      else await expect(cancelled).rejects.toThrow();
      await expect.poll(counted, { timeout: 20_000 }).toEqual([unreached === 0 ? 1 : 0, 0, 0]);
      expect(await blocked).toMatch(/^(closed|-ERR the connection to .* ended before it answered)/);
    } finally {
      server.socket.destroy();
    }
    await expect.poll(counted, { timeout: 20_000 }).toEqual([0, 0, 0]);
  });
});
