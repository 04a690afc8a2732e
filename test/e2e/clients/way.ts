// The two ways in, as a client sees them: an address, a user, a password. Each client is tried through both.
import { EventEmitter } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import type { Context } from "@sallyport/cli/context";
import { keepPass } from "@sallyport/cli/pass";
import { openProfiles } from "@sallyport/cli/profile";
import { openTunnel, type Tunnel } from "@sallyport/cli/tunnel";
import { openClient } from "@sallyport/client/client";
import type { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import type { Postgres } from "@sallyport/local/postgres/server";
import { expect } from "vitest";
import { password, plainly, type World } from "../world.ts";

/** Where a client connects. Without a CA it is a tunnel's loopback port. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password: string;
  readonly ca?: string;
  readonly caFile?: string;
}
export interface Way {
  readonly name: string;
  place(): Promise<Place>;
}
/** What a suite of one client works with; ready when its tests run. */
export interface Ground {
  readonly way: Way;
  readonly server: () => Postgres;
}

export interface TunnelOf {
  readonly tunnel: Tunnel;
  /** Why the gate refused connections. */
  readonly failures: readonly Failure[];
  close(): Promise<void>;
}

/** The tunnel of `sally`, in this process, for somebody whom the world knows. */
export const openTunnelFor = async (
  world: World,
  person: string,
  wish: { readonly database: string; readonly user: string; readonly name?: string },
): Promise<TunnelOf> => {
  const configDir = await mkdtemp(join(tmpdir(), "sally-e2e-"));
  const server = world.laptop.api;
  const login = await openClient({ api: server }).call("login", { user: person, password });
  const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });
  const context: Context = {
    env: {},
    stdin: Readable.from([]),
    stdout: nowhere(),
    stderr: nowhere(),
    fetch,
    spawn: () => {
      throw new Error("a tunnel starts no program");
    },
    clock: { now: Date.now },
    sleep: () => Promise.reject(new Error("a tunnel that is there waits for nothing")),
    signals: new EventEmitter(),
    configDir,
    exit: () => {},
  };
  openProfiles(context).save({ server, user: person, token: secret(login.token), expiresAt: login.expiresAt });
  const failures: Failure[] = [];
  const tunnel = await openTunnel(await keepPass(context, wish), 0, (failure) => failures.push(failure));
  return {
    tunnel,
    failures,
    close: async () => {
      await tunnel.close();
      await rm(configDir, { recursive: true, force: true });
    },
  };
};

/** A fresh bearer token each time, which has only so many logins. */
export const plainWay = (world: () => World, person: string): Way => {
  let client: ReturnType<World["person"]> | undefined;
  return {
    name: "the plain port",
    place: async () => {
      client ??= world().person(person, ["dev"]);
      return plainly(world().laptop, await world().bearer(await client));
    },
  };
};

export const tunnelWay = (tunnel: () => Tunnel): Way => ({
  name: "the tunnel",
  place: async () => ({
    host: tunnel().host,
    port: tunnel().port,
    user: "reader",
    database: "orders",
    password: "any",
  }),
});

/** What libpq reads. */
export const libpqEnv = (place: Place): Record<string, string> => ({
  PGHOST: place.host,
  PGPORT: String(place.port),
  PGUSER: place.user,
  PGDATABASE: place.database,
  PGPASSWORD: place.password,
  ...(place.caFile === undefined
    ? { PGSSLMODE: "disable" }
    : { PGSSLMODE: "verify-full", PGSSLROOTCERT: place.caFile }),
});

/** Resolves once a session of this application_name is at work in one of the databases themselves. */
export const atWork = async (servers: readonly Postgres[], application: string): Promise<void> => {
  const text = `select pid from pg_stat_activity where application_name = '${application}' and state = 'active'`;
  const count = async (): Promise<number> =>
    (await Promise.all(servers.map((server) => server.sql("postgres", text)))).flat().length;
  await expect.poll(count, { timeout: 10_000, interval: 20 }).toBe(1);
};
