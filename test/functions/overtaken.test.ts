// What happens when one change overtakes another: each test lets something happen just before a given write or read of the
// other, at the moment where it would hurt most.
import { changeAccess } from "@sallyport/core/epoch";
import { keys } from "@sallyport/core/family";
import { acceptInvite, reset } from "@sallyport/core/invite";
import type { Change, Store } from "@sallyport/core/ports";
import { resources } from "@sallyport/core/resources";
import type { World } from "@sallyport/functions/compose";
import { login } from "@sallyport/identity/login";
import { hashPassword } from "@sallyport/identity/password";
import { expect, it } from "vitest";
import { makeRole } from "../core/make.ts";
import { context, makeUser, openWorld } from "./world.ts";

const password = "correct horse battery";
const other = `${password} 2`;

const withAna = async () => {
  const world = openWorld();
  await world.addRoles(
    makeRole("r", { allow: { db_labels: { env: "*" }, db_users: ["reader"], db_names: ["orders"] } }),
  );
  await world.addDatabases({});
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const first = (await world.call("invite", { user: "ana", roles: ["r"] }, root)).body.invite as string;
  const accept = (invite: string, chosen = password) => world.call("acceptInvite", { invite, password: chosen });
  const logsIn = (chosen = password) => world.call("login", { user: "ana", password: chosen });
  const putUser = async (state: "active" | "disabled") => {
    const { revision } = (await world.call("getResource", { kind: "user", name: "ana" }, root)).body.metadata;
    const document = {
      kind: "user",
      version: "v1",
      metadata: { name: "ana", revision },
      spec: { roles: ["r"], state },
    };
    return world.call("putResource", { kind: "user", name: "ana", document: document as never }, root);
  };
  return { ...world, root, first, accept, logsIn, putUser };
};

/** The API's world, in which `first` happens before the first call that matches. */
const overtaken = (
  world: World,
  at: { transact?: (changes: readonly Change[]) => boolean; list?: (pk: string) => boolean; always?: boolean },
  first: () => Promise<unknown>,
): World => {
  let done = false;
  const overtake = async (matches: boolean): Promise<void> => {
    if (!matches || done) return;
    done = at.always !== true;
    await first();
  };
  const store: Store = {
    ...world.store,
    transact: async (changes) => {
      await overtake(at.transact?.(changes) ?? false);
      return world.store.transact(changes);
    },
    list: async (pk, page) => {
      await overtake(at.list?.(pk) ?? false);
      return world.store.list(pk, page);
    },
  };
  return { ...world, store };
};
const puts = (pk: string) => (changes: readonly Change[]) =>
  changes.some((change) => "put" in change && change.put.pk.startsWith(pk));

it("S-08 a login that a password reset overtakes is not opened", async () => {
  const world = await withAna();
  await world.accept(world.first);
  const api = overtaken(world.worldOf("api"), { transact: puts("key#") }, async () => {
    const { body } = await world.call("reset", { user: "ana" }, world.root);
    expect((await world.accept(body.invite, other)).status).toBe(200);
  });
  await expect(login(api, { user: "ana", password }, "192.0.2.7")).rejects.toMatchObject({ code: "conflict" });
  expect((await world.logsIn(other)).status).toBe(200);
});

it("S-08 a login that a user's disabling overtakes does not come back to life with the user", async () => {
  const world = await withAna();
  await world.accept(world.first);
  const api = overtaken(world.worldOf("api"), { transact: puts("key#") }, async () => {
    expect((await world.putUser("disabled")).status).toBe(200);
    expect((await world.putUser("active")).status).toBe(200);
  });
  await expect(login(api, { user: "ana", password }, "192.0.2.7")).rejects.toMatchObject({ code: "conflict" });
});

it("S-08 an older invitation is void from the moment of a reset, not from when its logins are ended", async () => {
  const world = await withAna();
  let status = 0;
  const api = overtaken(world.worldOf("api"), { list: (pk) => pk === "key#user#ana" }, async () => {
    status = (await world.accept(world.first)).status;
  });
  const { invite } = await reset(api, "root", "ana");
  expect(status).toBe(401);
  expect(await world.table.get(keys.user("ana"))).toMatchObject({ state: "invited" });
  expect((await world.accept(invite, other)).status).toBe(200);
});

it("S-08 a reset that overtakes the accepting of an older invitation wins, and its own invitation stays good", async () => {
  const world = await withAna();
  let invite = "";
  const api = overtaken(world.worldOf("api"), { transact: puts("login#") }, async () => {
    invite = (await world.call("reset", { user: "ana" }, world.root)).body.invite;
  });
  await expect(acceptInvite(api, world.first, () => hashPassword(password))).rejects.toMatchObject({
    code: "bad_token",
  });
  expect((await world.logsIn()).status).toBe(401);
  expect((await world.accept(invite, other)).status).toBe(200);
});

it("S-08 a login with the old password, opened while the new one is being set, ends with it", async () => {
  const world = await withAna();
  await world.accept(world.first);
  const { invite } = (await world.bootstrap({ user: "ana" }, context)) as { invite: string };
  let token = "";
  const api = overtaken(world.worldOf("api"), { transact: puts("login#") }, async () => {
    token = (await world.logsIn()).body.token;
  });
  await acceptInvite(api, invite, () => hashPassword(other));
  expect(token).toMatch(/^sly_s_/);
  expect((await world.call("status", {}, token)).status).toBe(401);
});

it("S-08 a logout that could not revoke everything can be repeated until it has", async () => {
  const world = await withAna();
  await world.accept(world.first);
  await world.addProxy();
  const { token } = (await world.logsIn()).body;
  const { id } = (await world.call("connect", { database: "orders" }, token)).body;
  world.table.fault.breakWhen((change) => "update" in change && change.update.pk === "epoch#");
  expect((await world.call("logout", {}, token)).status).toBe(503);
  world.table.fault.mend();
  expect((await world.call("logout", {}, token)).status).toBe(200);
  expect(await world.table.get(keys.connectToken(id))).toMatchObject({ revokedAt: world.clock.now() });
  expect((await world.call("status", {}, token)).status).toBe(401);
});

it("S-49 ending a user's logins gets further at each try, however many there are", async () => {
  const world = await withAna();
  await world.accept(world.first);
  for (let at = 0; at < 40; at++) await world.loginAs(makeUser("ana", ["r"], { revision: 2 }));
  let left = 25;
  world.table.fault.breakWhen((change) => "update" in change && change.update.pk.startsWith("key#") && left-- <= 0);
  expect((await world.putUser("disabled")).status).toBe(503);
  const open = () => world.table.items().filter(({ pk }) => pk === "key#user#ana").length;
  expect(open()).toBeLessThan(25);
  world.table.fault.mend();
  expect((await world.putUser("disabled")).status).toBe(200);
  expect(open()).toBe(0);
});

it("S-49 a lock gets through however fast its target revokes tokens", async () => {
  const world = await withAna();
  const api = overtaken(world.worldOf("api"), { transact: puts("access#lock"), always: true }, () =>
    changeAccess(world.table, { put: { ...keys.connectToken("0".repeat(64)), v: 1 } }),
  );
  const document = { kind: "lock", version: "v1", metadata: { name: "l" }, spec: { target: { user: "ana" } } } as const;
  await expect(resources.lock.put(api, "root", document)).resolves.toBeDefined();
  expect((await world.call("databases", {}, world.root)).status).toBe(200);
});

it("a login of more time than roles allow is refused, and recorded", async () => {
  const world = await withAna();
  await world.accept(world.first);
  expect((await world.call("login", { user: "ana", password, ttl: 31 * 3_600_000 })).status).toBe(403);
  expect(world.events("login.failure").map(({ actor }) => actor)).toEqual(["ana"]);
});

it("a user's description outlives resets and invitations", async () => {
  const world = await withAna();
  const document = {
    kind: "user",
    version: "v1",
    metadata: { name: "ana", description: "orders on call", revision: 1 },
    spec: { roles: ["r"] },
  } as const;
  expect(
    (await world.call("putResource", { kind: "user", name: "ana", document: document as never }, world.root)).status,
  ).toBe(200);
  const { body } = await world.call("reset", { user: "ana" }, world.root);
  await world.accept(body.invite);
  const kept = await world.call("getResource", { kind: "user", name: "ana" }, world.root);
  expect(kept.body.metadata.description).toBe("orders on call");
});
