// Live sessions and the rules of now: whatever takes their right away ends them within five seconds, with 57P01 and the reason,
// also in a statement that runs, on the plain port and at the gate. Each session belongs to a person and a role of its own.
import { performance } from "node:perf_hooks";
import { type Client, openClient } from "@sallyport/client/client";
import type { Document } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  dialGate,
  doorOf,
  type Ending,
  enter,
  eventually,
  logInOver,
  makeKey,
  proofOver,
  refused,
  type Session,
  showGate,
  within,
} from "./attack.ts";
import { say } from "./clients/raw.ts";
import { edit, lock, logInAgain, openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, password, type World } from "./world.ts";

const limit = 5_000;

let world: World;
let table: Table;
beforeAll(async () => {
  world = await openWorld({ proxies: 2 });
  table = openOwnTable(world.laptop);
  const [server] = world.servers;
  if (!server) throw new Error("a world has a server");
  for (const id of ["shut", "relabelled"])
    await world.laptop.databases.addInstance({ id, tags: { env: "dev" } }, server);
  await world.discover();
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

interface Live {
  readonly name: string;
  readonly client: Client;
  readonly session: Session;
  readonly token: string;
  /** Its id in the table. */
  readonly id: string;
}
/** Somebody with a role of the same name and one live session. */
const live = async (
  name: string,
  over: { database?: string; options?: Record<string, unknown> } = {},
): Promise<Live> => {
  await world.put(roleOf(name, over.options ?? {}));
  const client = await world.person(name, [name]);
  return begin(name, client, over.database);
};
const begin = async (name: string, client: Client, database?: string): Promise<Live> => {
  const answer = await world.bearer(client, database === undefined ? {} : { database });
  const session = await enter(doorOf(world.laptop, answer));
  expect(await session.query("select current_user")).toEqual(["reader"]);
  const [item] = await table.sessions(answer.id);
  return { name, client, session, token: answer.id, id: String(item?.sk) };
};

/** Makes a change and waits for the end it must bring, timed from before the change was asked for. */
const cutBy = async (one: Live, change: () => Promise<unknown>): Promise<Ending & { after: number }> => {
  const since = performance.now();
  const ending = one.session.ending().then((how) => ({ ...how, after: performance.now() - since }));
  await change();
  const how = await within(2 * limit, "the cut", ending);
  expect(how.code).toBe("57P01");
  expect(how.after).toBeLessThan(limit);
  await eventually("its end is written", async () => {
    const [item] = await table.sessions(one.token);
    return item?.["state"] === "ended" && (await table.spent(one.token)).live === 0;
  });
  const [item] = await table.sessions(one.token);
  expect(item).toMatchObject({ reason: `ended: ${how.message}` });
  return how;
};
const unallowed = (role: Document): Document =>
  role.kind === "role" ? { ...role, spec: { allow: { db_labels: { env: "test" } } } } : role;

describe("S-08 a live session is cut within five seconds", () => {
  const cases: Readonly<Record<string, [reason: string, run: (name: string) => Promise<Ending>]>> = {
    "by a lock on its user": [
      "user n0 is locked: for n0",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () => lock(world, name, { user: name }));
      },
    ],
    "by a lock on one of its roles": [
      "role n1 is locked: for n1",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () => lock(world, name, { role: name }));
      },
    ],
    "by a lock on its database": [
      "database shut-rds-eu-west-1-111122223333 is locked: for n2",
      async (name) => {
        const one = await live(name, { database: "shut" });
        return cutBy(one, () => lock(world, name, { database: "shut-rds-eu-west-1-111122223333" }));
      },
    ],
    "by a lock on itself, and no other of its user": [
      "session ses_",
      async (name) => {
        const one = await live(name);
        const other = await begin(name, one.client);
        const how = await cutBy(one, () => lock(world, name, { session: one.id }));
        expect(await other.session.query("select 1")).toEqual(["1"]);
        other.session.close();
        return how;
      },
    ],
    "when its role no longer reaches the database": [
      "role n4 ",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () => edit(world, "role", name, unallowed));
      },
    ],
    "when another of its roles denies": [
      'role n5-deny denies database user "reader"',
      async (name) => {
        await world.put(roleOf(name));
        await world.put({
          kind: "role",
          version: "v7",
          metadata: { name: `${name}-deny` },
          spec: { deny: { db_users: ["nobody"] } },
        });
        const one = await begin(name, await world.person(name, [name, `${name}-deny`]));
        return cutBy(one, () =>
          edit(world, "role", `${name}-deny`, (role) =>
            role.kind === "role" ? { ...role, spec: { deny: { db_users: ["reader"] } } } : role,
          ),
        );
      },
    ],
    "when the role is taken from its user": [
      "user n6 holds no role that reaches databases",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () =>
          edit(world, "user", name, (user) =>
            user.kind === "user" ? { ...user, spec: { ...user.spec, roles: [] } } : user,
          ),
        );
      },
    ],
    "when its user is disabled": [
      "",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () =>
          edit(world, "user", name, (user) =>
            user.kind === "user" ? { ...user, spec: { ...user.spec, state: "disabled" } } : user,
          ),
        );
      },
    ],
    "when its user is removed": [
      "",
      async (name) => {
        const one = await live(name);
        return cutBy(one, () => world.admin.call("removeResource", { kind: "user", name }));
      },
    ],
    "when its token is revoked, and no session of another token": [
      "its token was revoked",
      async (name) => {
        const one = await live(name);
        const other = await begin(name, one.client);
        const how = await cutBy(one, () => one.client.call("revoke", { id: one.token }));
        expect(await other.session.query("select 1")).toEqual(["1"]);
        other.session.close();
        return how;
      },
    ],
    "when its user logs out, and no session of another login": [
      "its token was revoked",
      async (name) => {
        const one = await live(name);
        const other = await begin(name, (await logInAgain(world, name)).client);
        const how = await cutBy(one, () => one.client.call("logout", {}));
        expect(await other.session.query("select 1")).toEqual(["1"]);
        other.session.close();
        return how;
      },
    ],
    "when discovery finds its database with other labels": [
      "labels do not match",
      async (name) => {
        const one = await live(name, { database: "relabelled" });
        const { laptop } = world;
        const where = { accountId: laptop.account.id, region: laptop.region };
        laptop.rds.change(where, "relabelled", { TagList: [{ Key: "env", Value: "prod" }] });
        return cutBy(one, world.discover);
      },
    ],
  };
  it.concurrent.each(Object.entries(cases).map(([title, [reason, run]], at) => ({ title, reason, run, at })))(
    "S-08 $title",
    async ({ reason, run, at }) => {
      const how = await run(`n${at}`);
      expect(how.message).toMatch(/^the session ended: /);
      expect(how.message).toContain(reason);
    },
  );

  it("S-08 also in a statement that runs, which the database is told to stop", async () => {
    const one = await live("busy");
    const running = async (): Promise<number> => {
      const text = `select 1 from pg_stat_activity where pid = ${one.session.pid} and query like '%pg_sleep%'`;
      return (await world.servers[0]?.sql("postgres", text))?.length ?? 0;
    };
    one.session.send(say("Q", "select pg_sleep(60)"));
    await eventually("at work", async () => (await running()) === 1);
    const how = await cutBy(one, () => lock(world, "busy", { user: "busy" }));
    expect(how.message).toBe("the session ended: user busy is locked: for busy");
    await eventually("it stopped", async () => (await running()) === 0, 3_000);
  });

  it("S-08 S-04b at the gate too, and the gate then refuses with the reason", async () => {
    await world.put(roleOf("gated"));
    const client = await world.person("gated", ["gated"]);
    const key = makeKey();
    const answer = await client.call("connect", { database: "orders", user: "reader", name: "orders", key: key.spki });
    const arrive = async () => {
      const socket = await dialGate(world.laptop, answer.gate.ca ?? "");
      const frame = { token: answer.token, key: key.spki, proof: proofOver(socket, answer.token, key.privateKey) };
      return { socket, reply: await showGate(socket, frame) };
    };
    const { socket, reply } = await arrive();
    expect(reply).toEqual({ ok: true });
    const session = await logInOver(socket, { user: "reader", database: "orders", password: "" });
    if ("code" in session) throw new Error(session.message);
    const since = performance.now();
    const ending = session.ending();
    await lock(world, "gated", { user: "gated" });
    expect(await within(2 * limit, "the cut", ending)).toMatchObject({
      code: "57P01",
      message: "the session ended: user gated is locked: for gated",
    });
    expect(performance.now() - since).toBeLessThan(limit);
    const again = await arrive();
    expect(again.reply).toMatchObject({ code: "denied", message: "user gated is locked: for gated" });
  });

  it("S-08 and whoever was cut is refused, in the same words, until the lock is lifted", async () => {
    const one = await live("locked");
    const answer = await world.bearer(one.client);
    await cutBy(one, () => lock(world, "locked", { role: "locked" }));
    expect(await refused(doorOf(world.laptop, answer))).toMatchObject({
      code: "28000",
      message: "role locked is locked: for locked",
    });
    await world.admin.call("removeResource", { kind: "lock", name: "locked" });
    const session = await enter(doorOf(world.laptop, answer));
    session.close();
  });

  it("S-08 a role that somebody holds can't be removed; its sessions go on", async () => {
    const one = await live("kept");
    await expect(world.admin.call("removeResource", { kind: "role", name: "kept" })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("kept"),
    });
    expect(await one.session.query("select 1")).toEqual(["1"]);
    one.session.close();
  });
});

describe("S-50 a session's own time", () => {
  it.concurrent("S-50 S-36 max_session_ttl ends it, whatever it does", async () => {
    const one = await live("short", { options: { max_session_ttl: "3s" } });
    const since = performance.now();
    const busy = (async () => {
      for (;;) await one.session.query("select pg_sleep(0.1)");
    })();
    await expect(within(8_000, "the end", busy)).rejects.toMatchObject({
      code: "57P01",
      message: "the session ended: the session's time is over".replace("the session ended: ", ""),
    });
    expect(performance.now() - since).toBeLessThan(3_000 + 2_500);
  });

  it.concurrent("S-50 S-36 client_idle_timeout ends it when it does nothing, and not before", async () => {
    const one = await live("idle", { options: { client_idle_timeout: "3s" } });
    for (let at = 0; at < 4; at++) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect(await one.session.query("select 1")).toEqual(["1"]);
    }
    const since = performance.now();
    expect(await within(8_000, "the end", one.session.ending())).toMatchObject({
      code: "57P01",
      message: "the session was idle for 3s",
    });
    const idle = performance.now() - since;
    expect(idle).toBeGreaterThan(1_500);
    expect(idle).toBeLessThan(6_000);
  });

  it.concurrent("S-50 disconnect_expired_cert ends it with the login it came by", async () => {
    await world.put(roleOf("expiring", { disconnect_expired_cert: true }));
    await world.person("expiring", ["expiring"]);
    const { token, expiresAt } = await openClient({ api: world.laptop.api }).call("login", {
      user: "expiring",
      password,
      ttl: 4_000,
    });
    const one = await begin("expiring", openClient({ api: world.laptop.api, token: secret(token) }));
    expect(await within(9_000, "the end", one.session.ending())).toMatchObject({ code: "57P01" });
    expect(Date.now()).toBeGreaterThan(expiresAt - 50);
    expect(Date.now()).toBeLessThan(expiresAt + 3_000);
  });
});
