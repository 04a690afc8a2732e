import { generateKeyPairSync } from "node:crypto";
import { keys } from "@sallyport/core/family";
import { describe, expect, it } from "vitest";
import { hour, makeLock, makeRole, reader } from "../core/make.ts";
import { makeUser, openWorld } from "./world.ts";

const minute = 60_000;
const any = { db_labels: { "*": "*" }, db_users: ["*"], db_names: ["*"] };
const ed25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" });

/** One database that ana's role reaches, one it does not, and a proxy that is there. */
const open = async (roles = [reader], holds = roles.map((role) => role.name)) => {
  const world = openWorld();
  await world.addRoles(...roles);
  await world.addDatabases({}, { name: "vault", labels: { env: "prod" } });
  await world.addProxy();
  const token = await world.loginAs(makeUser("ana", holds));
  return { ...world, token };
};

describe("the databases one may reach", () => {
  it("are listed with the users and names one may be, and nothing of AWS's own", async () => {
    const world = await open();
    const { body } = await world.call("databases", {}, world.token);
    expect(body.databases.map((database: { name: string }) => database.name)).toEqual(["orders"]);
    expect(body.databases[0].users).toEqual([{ user: "reader", names: ["orders"] }]);
    expect(body.databases[0]).not.toHaveProperty("arn");
    expect(body.databases[0]).not.toHaveProperty("assume");
  });
  it("S-08 end with a lock", async () => {
    const world = await open();
    await world.put([keys.lock("l1"), makeLock({ database: "orders" })]);
    expect((await world.call("databases", {}, world.token)).body.databases).toEqual([]);
  });
  it("S-01 are none for the built-in administrator role alone", async () => {
    const world = await open([reader], ["admin"]);
    expect((await world.call("databases", {}, world.token)).body.databases).toEqual([]);
    expect((await world.call("connect", { database: "orders" }, world.token)).status).toBe(404);
  });
});

describe("a connect token", () => {
  it("as a bearer says where to go, for whom, how long and how often", async () => {
    const world = await open();
    const { status, body } = await world.call("connect", { database: "orders" }, world.token);
    expect(status).toBe(200);
    expect(body).toEqual({
      state: "ready",
      gate: { host: "gate.test", port: 7443, pins: ["sha256/pin"], ca: "CA" },
      direct: { host: "direct.test", port: 5432, ca: "CA" },
      network: "default",
      token: expect.stringMatching(/^sly_c_[\w-]{43}$/),
      id: world.digest.sha256(body.token),
      expiresAt: world.clock.now() + 15 * minute,
      logins: 20,
      database: "orders",
      protocol: "postgres",
      user: "reader",
      name: "orders",
    });
    expect(await world.table.get(keys.connectToken(body.id))).toMatchObject({
      user: "ana",
      database: "orders",
      dbUser: "reader",
      dbName: "orders",
      way: { bearer: 20 },
      loginExpiresAt: world.clock.now() + 12 * hour,
    });
    expect(world.events("token.issue").length).toBe(1);
    expect(world.epoch()).toBe(0);
  });
  it("bound to a key lasts an hour", async () => {
    const world = await open();
    const key = ed25519.toString("base64");
    const { body } = await world.call("connect", { database: "orders", key }, world.token);
    expect(body.expiresAt).toBe(world.clock.now() + hour);
    expect(body).not.toHaveProperty("logins");
    expect((await world.table.get(keys.connectToken(body.id)))?.["way"]).toEqual({ bound: key });
  });
  it("S-50 never outlives the login", async () => {
    const world = await open();
    const token = await world.loginAs(makeUser("ana", ["orders-read"]), 10 * minute);
    for (const key of [undefined, ed25519.toString("base64")]) {
      const { body } = await world.call("connect", { database: "orders", ...(key ? { key } : {}) }, token);
      expect(body.expiresAt).toBe(world.clock.now() + 10 * minute);
    }
  });
  it("follows the role's options for bearers", async () => {
    const role = makeRole("r", { allow: any, options: { bearer_ttl: "1m", bearer_logins: 3 } });
    const world = await open([role]);
    const { body } = await world.call("connect", { database: "orders", user: "u", name: "n" }, world.token);
    expect([body.expiresAt - world.clock.now(), body.logins]).toEqual([minute, 3]);
  });
  it("is refused to plain clients where a role says so, and given to the tunnel", async () => {
    const world = await open([makeRole("r", { allow: any, options: { bearer: false } })]);
    const ask = { database: "orders", user: "u", name: "n" };
    const refused = await world.call("connect", ask, world.token);
    expect([refused.status, refused.body.error.code]).toEqual([403, "denied"]);
    expect(refused.body.error.hint).toContain("tunnel");
    const key = ed25519.toString("base64");
    expect((await world.call("connect", { ...ask, key }, world.token)).status).toBe(200);
    expect(world.events("token.deny").length).toBe(1);
  });
  it("is issued once for each time it is asked for, and only to a login that has not ended", async () => {
    const world = await open();
    const first = await world.call("connect", { database: "orders" }, world.token);
    const second = await world.call("connect", { database: "orders" }, world.token);
    expect(first.body.token).not.toBe(second.body.token);
    const asked = world.call("connect", { database: "orders" }, world.token);
    await world.call("logout", {}, world.token);
    const { status } = await asked;
    const left = world.table.items().filter((item) => item.pk.startsWith("token#") && item["revokedAt"] === undefined);
    // it came before the logout, which then revoked it, or after, and there is none
    expect(left).toEqual([]);
    expect([200, 401]).toContain(status);
  });
  it.each(["unavailable", "unsupported"] as const)("is not issued for a database that is %s", async (status) => {
    const world = await open();
    await world.addDatabases({ status, reason: "IAM authentication is off: turn it on" });
    const answer = await world.call("connect", { database: "orders" }, world.token);
    expect([answer.status, answer.body.error.code]).toEqual([503, "unavailable"]);
    expect(answer.body.error.message).toContain("IAM authentication is off");
  });
  it("is not issued where no proxies are", async () => {
    const world = await open();
    await world.addDatabases({ network: "constructor" });
    expect((await world.call("connect", { database: "orders" }, world.token)).body.error.code).toBe("unavailable");
  });
  it.each<[string, string]>([
    [
      "an RSA key",
      generateKeyPairSync("rsa", { modulusLength: 2048 })
        .publicKey.export({ format: "der", type: "spki" })
        .toString("base64"),
    ],
    [
      "a P-384 key",
      generateKeyPairSync("ec", { namedCurve: "P-384" })
        .publicKey.export({ format: "der", type: "spki" })
        .toString("base64"),
    ],
    ["bytes behind the key", Buffer.concat([ed25519, Buffer.from([0])]).toString("base64")],
    ["base64url", ed25519.toString("base64url")],
    ["white space", ` ${ed25519.toString("base64")}`],
    ["nothing of a key", "AAAA"],
    ["nothing", ""],
    ["PEM", "-----BEGIN PUBLIC KEY-----"],
  ])("S-04b is bound to no %s", async (_, key) => {
    const world = await open();
    const { status } = await world.call("connect", { database: "orders", key }, world.token);
    expect(status).toBe(400);
    expect(world.table.items().some((item) => item.pk.startsWith("token#"))).toBe(false);
  });
  it("is bound to a P-256 key", async () => {
    const world = await open();
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = publicKey.export({ format: "der", type: "spki" }).toString("base64");
    expect((await world.call("connect", { database: "orders", key }, world.token)).status).toBe(200);
  });
});

describe("what is left out", () => {
  it("is the only user and name that the roles mention", async () => {
    const world = await open();
    expect((await world.call("connect", { database: "orders" }, world.token)).body).toMatchObject({
      user: "reader",
      name: "orders",
    });
  });
  it("is asked for when there are several users", async () => {
    const allow = { db_labels: { env: "dev" }, db_users: ["reader", "writer"], db_names: ["orders"] };
    const world = await open([makeRole("r", { allow })]);
    const { status, body } = await world.call("connect", { database: "orders" }, world.token);
    expect([status, body.error.hint]).toEqual([400, "name one with -u: reader, writer"]);
  });
  it("is the user's own name where it is one of several database names, else asked for", async () => {
    const allow = { db_labels: { env: "dev" }, db_users: ["reader"], db_names: ["orders", "reader"] };
    const world = await open([makeRole("r", { allow })]);
    expect((await world.call("connect", { database: "orders" }, world.token)).body.name).toBe("reader");
    const other = await open([makeRole("r", { allow: { ...allow, db_names: ["a", "b"] } })]);
    const { status, body } = await other.call("connect", { database: "orders" }, other.token);
    expect([status, body.error.hint]).toEqual([400, "name one with -n: a, b"]);
    const anywhere = await open([makeRole("r", { allow: { ...allow, db_names: ["a", "*"] } })]);
    expect((await anywhere.call("connect", { database: "orders" }, anywhere.token)).body.name).toBe("reader");
  });
  it("may be the end of a discovered name, where that is unambiguous among what one may reach", async () => {
    const world = await open();
    const account = { account: "111122223333", region: "eu-west-1" };
    await world.addDatabases(
      { ...account, name: "shop-rds-eu-west-1-111122223333" },
      { ...account, name: "shop-archive-rds-eu-west-1-111122223333" },
      { ...account, region: "us-east-1", name: "shop-rds-us-east-1-111122223333", labels: { env: "prod" } },
    );
    const { body } = await world.call("connect", { database: "shop" }, world.token);
    expect(body.database).toBe("shop-rds-eu-west-1-111122223333");
    await world.addDatabases({ ...account, region: "us-east-1", name: "shop-rds-us-east-1-111122223333" });
    await world.put([keys.lock("l1"), makeLock({ database: "shop-rds-us-east-1-111122223333" })]);
    expect((await world.call("connect", { database: "shop" }, world.token)).body.database).toBe(body.database);
    await world.table.write({ remove: keys.lock("l1") });
    const { status, body: both } = await world.call("connect", { database: "shop" }, world.token);
    expect(status).toBe(400);
    expect(both.error.hint).toContain("shop-rds-us-east-1-111122223333");
  });
  it.each([
    "Orders",
    "orders ",
    "orders.",
    "ORDERS",
    "оrders",
    "orders\0",
    "order",
    "orders%2f",
    "arn:aws:rds:eu-west-1:111122223333:db:orders",
  ])("S-06 %j is not orders", async (database) => {
    const world = await open();
    expect((await world.call("connect", { database }, world.token)).status).toBe(404);
  });
});

describe("refused", () => {
  it("S-48 an outsider hears the same of a database that is not there and one that is, after the same reads and writes", async () => {
    const world = await open();
    const ask = async (database: string, user?: string) => {
      const [changes, reads] = [world.table.changes.length, world.reads()];
      const answer = await world.call("connect", { database, ...(user ? { user } : {}) }, world.token);
      return {
        text: answer.text.replaceAll(database, "X"),
        headers: answer.headers,
        changes: world.table.changes.length - changes,
        reads: world.reads() - reads,
      };
    };
    expect(await ask("vault")).toEqual(await ask("nosuch"));
    expect(await ask("vault", "admin")).toEqual(await ask("nosuch", "admin"));
    const explain = async (database: string) =>
      (await world.call("explain", { database }, world.token)).text.replaceAll(database, "X");
    expect(await explain("vault")).toBe(await explain("nosuch"));
  });
  it("S-48 a hidden database's exact name does not stand in the way of a short name", async () => {
    const world = await open();
    await world.addDatabases(
      { name: "shop", labels: { env: "prod" } },
      { name: "shop-rds-eu-west-1-111122223333", account: "111122223333", region: "eu-west-1" },
    );
    const { body } = await world.call("connect", { database: "shop" }, world.token);
    expect(body.database).toBe("shop-rds-eu-west-1-111122223333");
  });
  it("somebody whose role is about the database hears which role and what it lacks", async () => {
    const world = await open();
    const { status, body } = await world.call("connect", { database: "orders", user: "admin" }, world.token);
    expect([status, body.error.code]).toEqual([403, "denied"]);
    expect(body.error.message).toBe(
      'role orders-read matches labels and db_name, but db_user "admin" is not in [reader]',
    );
    expect(world.events("token.deny")[0]?.["details"]).toMatchObject({ database: "orders", user: "admin" });
  });
  it("S-48 a reason names only roles that the user holds", async () => {
    const world = await open(
      [reader, makeRole("secret-role", { allow: { ...any, db_users: ["admin"] } })],
      ["orders-read"],
    );
    const { text } = await world.call("connect", { database: "orders", user: "admin" }, world.token);
    expect(text).not.toContain("secret-role");
  });
  it("S-01 a role that is gone denies its holders everything", async () => {
    const world = await open([reader], ["orders-read", "gone"]);
    const { status, body } = await world.call("connect", { database: "orders" }, world.token);
    expect([status, body.error.message]).toEqual([403, "role gone does not exist"]);
  });
  it("S-08 a lock on the database is said to those who know it, and to nobody else", async () => {
    const world = await open();
    await world.put([keys.lock("l1"), makeLock({ database: "orders" }, { message: "migration" })]);
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    expect(body.error.message).toBe("database orders is locked: migration");
    const ben = await world.loginAs(makeUser("ben", []));
    expect((await world.call("connect", { database: "orders" }, ben)).status).toBe(404);
  });
});

describe("revoking", () => {
  it("S-08 one's own token moves the epoch, and a second time changes nothing", async () => {
    const world = await open();
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    expect((await world.call("revoke", { id: body.id }, world.token)).status).toBe(200);
    expect(await world.table.get(keys.connectToken(body.id))).toMatchObject({ revokedAt: world.clock.now() });
    expect(world.epoch()).toBe(1);
    expect((await world.call("revoke", { id: body.id }, world.token)).status).toBe(200);
    expect(world.epoch()).toBe(1);
  });
  it("S-10 somebody else's token is unknown, as one that never was", async () => {
    const world = await open();
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    const ben = await world.loginAs(makeUser("ben", ["orders-read"]));
    const foreign = await world.call("revoke", { id: body.id }, ben);
    const unknown = await world.call("revoke", { id: "0".repeat(64) }, ben);
    expect(foreign.status).toBe(404);
    expect(foreign.text).toBe(unknown.text);
    expect((await world.table.get(keys.connectToken(body.id)))?.["revokedAt"]).toBeUndefined();
    const root = await world.loginAs(makeUser("root", ["admin"]));
    expect((await world.call("revoke", { id: body.id }, root)).status).toBe(200);
  });
  it("S-03 takes the id, never the token itself, and no other key's id", async () => {
    const world = await open();
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    expect((await world.call("revoke", { id: body.token }, world.token)).status).toBe(400);
    const login = world.digest.sha256(world.token);
    expect((await world.call("revoke", { id: login }, world.token)).status).toBe(404);
    expect((await world.call("status", {}, world.token)).status).toBe(200);
  });
  it("S-03 a connect token logs nobody in to the API", async () => {
    const world = await open();
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    for (const presented of [body.token, body.token.replace("sly_c_", "sly_s_")])
      expect((await world.call("status", {}, presented)).status).toBe(401);
  });
  it("S-08 a logout revokes every token issued under that login, in as few steps of the epoch as go, and no other's", async () => {
    const world = await open();
    const other = await world.loginAs(makeUser("ana", ["orders-read"]));
    for (let at = 0; at < 95; at++) await world.call("connect", { database: "orders" }, world.token);
    const kept = (await world.call("connect", { database: "orders" }, other)).body.id;
    await world.call("logout", {}, world.token);
    const left = world.table
      .items()
      .filter((item) => item.pk.startsWith("token#") && item["revokedAt"] === undefined)
      .map((item) => item["id"]);
    expect(left).toEqual([kept]);
    expect(world.epoch()).toBe(2);
    expect((await world.call("status", {}, other)).status).toBe(200);
  });
  it("S-08 a logout revokes what has expired too: sessions may live on it", async () => {
    const world = await open();
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    world.clock.pass(hour);
    await world.call("logout", {}, world.token);
    expect((await world.table.get(keys.connectToken(body.id)))?.["revokedAt"]).toBe(world.clock.now());
  });
  it("S-08 disabling a user revokes what was issued to them", async () => {
    const world = await open();
    const root = await world.loginAs(makeUser("root", ["admin"]));
    const { body } = await world.call("connect", { database: "orders" }, world.token);
    const { body: ana } = await world.call("getResource", { kind: "user", name: "ana" }, root);
    const document = { ...ana, spec: { ...ana.spec, state: "disabled" } };
    expect((await world.call("putResource", { kind: "user", name: "ana", document }, root)).status).toBe(200);
    expect((await world.table.get(keys.connectToken(body.id)))?.["revokedAt"]).toBe(world.clock.now());
    expect((await world.call("connect", { database: "orders" }, world.token)).status).toBe(401);
  });
});

describe("explaining", () => {
  it("says which roles allow it", async () => {
    const world = await open();
    expect((await world.call("explain", { database: "orders" }, world.token)).body).toEqual({
      allowed: true,
      database: "orders",
      user: "reader",
      name: "orders",
      roles: ["orders-read"],
      reasons: [],
    });
  });
  it("says what the nearest role lacks", async () => {
    const world = await open();
    const { body } = await world.call("explain", { database: "orders", user: "admin" }, world.token);
    expect(body.allowed).toBe(false);
    expect(body.nearest).toContain('db_user "admin" is not in [reader]');
  });
  it("S-10 for somebody else is for administrators, whoever exists", async () => {
    const world = await open();
    for (const as of ["root", "nobody"])
      expect((await world.call("explain", { database: "orders", as }, world.token)).status).toBe(403);
    expect((await world.call("explain", { database: "orders", as: "ana" }, world.token)).status).toBe(200);
  });
  it("an administrator may ask for anybody and any database", async () => {
    const world = await open();
    const root = await world.loginAs(makeUser("root", ["admin"]));
    const ask = { database: "vault", user: "reader", as: "ana" };
    const { body } = await world.call("explain", ask, root);
    expect(body).toMatchObject({ allowed: false, database: "vault" });
    expect(body.reasons[0].text).toContain("its labels do not match this database");
    expect((await world.call("explain", { ...ask, as: "nobody" }, root)).status).toBe(404);
  });
});
