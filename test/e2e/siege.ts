// A world to attack, one for a test file: a proxy without the balancer in front of it, whose own endings are not the proxy's, a
// server that logs every statement, and a person who may log in.
import type { Client } from "@sallyport/client/client";
import type { ConnectAnswer } from "@sallyport/core/api";
import { afterAll, beforeAll } from "vitest";
import { type Door, doorOf } from "./attack.ts";
import { openOwnTable, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

/** Opened before the file's first test, closed behind its last. */
export const besiege = () => {
  let world: World;
  let table: Table;
  let ana: Client;
  beforeAll(async () => {
    world = await openWorld({ settings: { log_statement: "all", log_line_prefix: "%p " } });
    table = openOwnTable(world.laptop);
    ana = await world.person("ana", ["dev"]);
  });
  afterAll(async () => {
    table?.close();
    await world?.close();
  });
  const proxy = () => {
    const [first] = world.proxies;
    if (!first) throw new Error("a world has a proxy");
    return first;
  };
  return {
    world: () => world,
    table: () => table,
    ana: () => ana,
    proxy,
    plain: () => ({ host: "localhost", port: proxy().ports.postgres }),
    gatePort: () => ({ host: "localhost", port: proxy().ports.gate }),
    issue: async (client: Client = ana): Promise<{ answer: ConnectAnswer; door: Door }> => {
      const answer = await world.bearer(client);
      return { answer, door: doorOf(world.laptop, answer, proxy().ports.postgres) };
    },
    /** How often the database was dialled. */
    dialled: (): number => world.fronts.orders.counters().connections,
    /** How many backends the reader has there. */
    backends: async (): Promise<number> => {
      const rows = await world.servers[0]?.sql("postgres", "select pid from pg_stat_activity where usename = 'reader'");
      return rows?.length ?? 0;
    },
  };
};
