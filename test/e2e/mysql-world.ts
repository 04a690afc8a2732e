// A world (world.ts) with MariaDB in it: the instance `shop`, whose IAM users are reader and writer as everywhere. Needs the
// server installed; each file skips with the reason where it is not.
import type { ConnectAnswer } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import type { Front } from "@sallyport/local/mariadb/front";
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import { expect } from "vitest";
import type { Way } from "./clients/way.ts";
import { openWorld, plainly, type World, type WorldOptions } from "./world.ts";

export const missing = (await haveBinaries()) ? undefined : `no MariaDB here: ${howToInstall}`;

export interface Shop {
  readonly world: World;
  readonly server: MariaDb;
  readonly front: Front;
  close(): Promise<void>;
}

/** The tables are the same as in the world's PostgreSQL. */
export const prepareShop = async (server: MariaDb): Promise<void> => {
  for (const user of ["reader", "writer"]) await server.addUser(user, { iam: true });
  await server.addUser("legacy", { password: secret("legacy-password-1") });
  await server.addDatabase("orders");
  await server.addDatabase("payroll");
  await server.sql(
    "orders",
    `create table item (id int primary key, name text);
     insert into item select seq, concat('item ', seq) from seq_1_to_1000;
     grant select, create temporary tables on orders.* to reader;
     grant all on orders.* to writer`,
  );
};

export const openShop = async (options: WorldOptions = {}): Promise<Shop> => {
  const server = await startMariaDb();
  try {
    await prepareShop(server);
    const world = await openWorld(options);
    try {
      const { front } = await world.laptop.databases.addInstance(
        { id: "shop", engine: "mariadb", tags: { env: "dev" } },
        server,
      );
      await world.discover();
      const close = async (): Promise<void> => {
        await world.close();
        await server.stop();
      };
      return { world, server, front, close };
    } catch (thrown) {
      await world.close();
      throw thrown;
    }
  } catch (thrown) {
    await server.stop();
    throw thrown;
  }
};

/** A bearer token for the shop. */
export const bearerOf = (
  client: Awaited<ReturnType<World["person"]>>,
  over: { user?: string; name?: string; database?: string } = {},
): Promise<ConnectAnswer> => client.call("connect", { database: "shop", user: "reader", name: "orders", ...over });

/** What a suite of one client works with; ready when its tests run. */
export interface Ground {
  readonly way: Way;
  readonly server: () => MariaDb;
}

/** A fresh bearer token each time, which has only so many logins. */
export const plainShop = (shop: () => Shop, person: string): Way => {
  let client: ReturnType<World["person"]> | undefined;
  return {
    name: "the plain port",
    place: async () => {
      client ??= shop().world.person(person, ["dev"]);
      return plainly(shop().world.laptop, await bearerOf(await client));
    },
  };
};

/** Resolves once a session of reader's runs a statement that contains this. */
export const atWork = async (server: MariaDb, text: string): Promise<void> => {
  const query = `select count(*) from information_schema.processlist where user in ('reader', 'writer') and info like '%${text}%'`;
  await expect.poll(() => server.sql("", query), { timeout: 10_000, interval: 20 }).toEqual([["1"]]);
};
