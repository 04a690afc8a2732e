// The count of a bearer token's logins, and what a session leaves of it that outlives the token.
import { keys } from "@sallyport/core/family";
import { closeLost } from "@sallyport/core/sweep";
import { type ConnectToken, release, spend } from "@sallyport/core/token";
import { expect, it } from "vitest";
import { openFakeStore } from "../fakes/store.ts";
import { hour, now } from "./make.ts";

const token: ConnectToken = {
  id: "a".repeat(64),
  user: "ana",
  database: "orders",
  protocol: "postgres",
  dbUser: "reader",
  dbName: "orders",
  session: "b".repeat(64),
  loginExpiresAt: now + 12 * hour,
  issuedAt: now,
  expiresAt: now + hour / 4,
  way: { bearer: 20 },
};

it("S-50 a session that ends after the table forgot its token leaves nothing for ever", async () => {
  const store = openFakeStore();
  await spend(store, token, now);
  await store.write({ remove: keys.spend(token.id) });
  await release(store, token);
  for (const item of store.items()) expect(item["ttl"]).toBe(Math.ceil(token.expiresAt / 1000) + 86_400);
});

it("S-50 nor does one that is swept", async () => {
  const store = openFakeStore();
  const { id, user, database, protocol, dbUser } = token;
  const session = { id: "ses_1", proxy: "prx_1", user, database, protocol, dbUser, token: id, client: "192.0.2.7" };
  const live = { ...session, way: "plain", state: "live", startedAt: now } as const;
  await store.write({ put: { ...keys.session("prx_1", "ses_1"), v: 1, ...live } });
  await store.transact(closeLost(live, now, { bytes: (count) => new Uint8Array(count) }));
  for (const item of store.items()) expect(item["ttl"]).toBeGreaterThan(now / 1000);
});
