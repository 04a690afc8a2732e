// Passwords that rotate, on a whole laptop account whose clock leaps from one rotation to the next: whoever logs in all the while is
// never refused, whoever is in stays in; what goes wrong is said to the client and to the administrator, and nothing is lost.
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  GetSecretValueCommand,
  SecretsManagerClient,
  UpdateSecretCommand,
} from "@aws-sdk/client-secrets-manager";
import type { Client } from "@sallyport/client/client";
import { secret } from "@sallyport/core/secret";
import type { CachePlace } from "@sallyport/local/cache-user";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { eventually } from "./attack.ts";
import { openIoredis } from "./clients/ioredis.ts";
import { openRedisRaw } from "./clients/redis-raw.ts";
import type { Place } from "./clients/way.ts";
import { logInAgain, openOwnTable, type Table } from "./owner.ts";
import {
  bearerOf,
  firstPassword,
  keeperPassword,
  missing,
  openTill,
  type Rotation,
  rotated,
  type Till,
} from "./redis-world.ts";
import { plainly } from "./world.ts";
import { openWorldClock, type WorldClock } from "./world-clock.ts";

const minute = 60_000;

let clock: WorldClock;
let here: Till;
let table: Table;
let home: CachePlace;
let vault: SecretsManagerClient;
let place: Place;
let admin: Client;
/** What the proxy said to each login of the loop. */
const answers: string[] = [];
let session: ReturnType<typeof openIoredis>;
const undo: (() => unknown)[] = [];
const canaries = new Map<string, string>([
  ["the first password", firstPassword],
  ["a password of keeper's own", keeperPassword],
]);
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  clock = await openWorldClock();
  undo.push(() => clock.remove());
  here = await openTill(clock.options);
  undo.push(() => here.close());
  const { laptop, put, person } = here.world;
  home = { service: "elasticache", accountId: laptop.account.id, region: laptop.region };
  table = openOwnTable(laptop);
  undo.push(() => table.close());
  const statements = [{ actions: ["secretsmanager:*", "kms:*"], resources: ["*"] }];
  const { credentials } = laptop.account.addUser({ name: "keyholder", statements });
  vault = new SecretsManagerClient({ endpoint: laptop.aws.url, region: laptop.region, credentials });
  undo.push(() => vault.destroy());
  // one token for the whole day
  await put({
    kind: "role",
    version: "v7",
    metadata: { name: "watch" },
    spec: {
      allow: { db_labels: { env: "dev" }, db_users: ["app", "late"] },
      options: { max_session_ttl: "30h", bearer_ttl: "30h", bearer_logins: 10_000 },
    },
  });
  for (const name of ["wanda", "wim"]) await person(name, ["watch"]);
  await logInAll();
  await rotated(here);
});
afterAll(async () => {
  session?.disconnect();
  for (const step of undo.reverse()) await step();
});

/** Nobody's login lasts a day. */
const logInAll = async (): Promise<void> => {
  const { client } = await logInAgain(here.world, "wanda");
  ({ client: admin } = await logInAgain(here.world, "root"));
  place = plainly(here.world.laptop, await bearerOf(client, { user: "app" }));
  canaries.set(`bearer token ${canaries.size}`, place.password);
};
/** A login and a PING on a connection of its own; what the proxy says of them. */
const logIn = async (at = place): Promise<string> => {
  const client = await openRedisRaw(at);
  try {
    client.say(["AUTH", at.user, at.password]);
    const [welcome = "closed"] = await client.lines(1);
    if (welcome !== "+OK") return welcome;
    client.say(["PING"]);
    return (await client.lines(1))[0] ?? "closed";
  } finally {
    client.close();
  }
};
const managed = async (id = "app") => {
  const found = await admin.call("getResource", { kind: "managed_user", name: id });
  if (found.kind !== "managed_user") throw new Error(`${id} is a ${found.kind}`);
  return found.spec;
};
/** By less than what AWS lets a signature be off at a time, so that whatever is asked just then is still answered. */
const leap = async (ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= 4 * minute) {
    clock.leap(Math.min(left, 4 * minute));
    await table.store.get({ pk: "epoch#", sk: "epoch" });
  }
};
/** Runs ticks until one does what is waited for. */
const tickUntil = async (what: (rotation: Rotation) => boolean): Promise<void> => {
  for (let left = 12; left > 0; left--) {
    const [rotation, answer] = await Promise.all([here.tick(), logIn()]);
    answers.push(answer);
    if (what(rotation)) return;
    await here.world.laptop.cacheUsers.settled();
  }
  throw new Error(`it did not come to that: ${JSON.stringify(await managed())}`);
};
const held = (): readonly string[] =>
  here.world.laptop.cacheUsers.user(home, "app")?.passwords.map((one) => one.reveal()) ?? [];

it("a client in a loop of AUTH and PING goes through 100 rotations without one failure, and one that is in stays in", async () => {
  session = openIoredis(place);
  await session.set("rotations", "0");
  const passwords = new Set<string>();
  for (let n = 1; n <= 100; n++) {
    if (n % 32 === 0) await logInAll();
    await leap(15 * minute);
    await tickUntil(({ rotated }) => rotated > 0);
    answers.push(await logIn());
    for (const one of held()) passwords.add(one);
    expect(await session.incr("rotations")).toBe(n);
  }
  expect(answers.filter((answer) => answer !== "+PONG")).toEqual([]);
  expect(answers.length).toBeGreaterThanOrEqual(300);
  expect(passwords.size).toBeGreaterThanOrEqual(101);
  for (const one of passwords) canaries.set(`password ${canaries.size}`, one);
  expect(await managed()).toMatchObject({ state: "current", failures: 0 });
  expect((await managed()).budget.scheduled.used).toBeLessThanOrEqual(96);
  expect((await table.events("rotation.success")).length).toBeGreaterThanOrEqual(101);
}, 400_000);

it("while AWS is changing the user the old password logs in, and the new one when it is done", async () => {
  const { cacheUsers } = here.world.laptop;
  cacheUsers.takes(3 * minute);
  try {
    await leap(15 * minute);
    await tickUntil(({ waiting }) => waiting > 0);
    expect(cacheUsers.status(home, "app")).toBe("modifying");
    const during = await here.tick();
    expect([during.rotated, during.failed]).toEqual([0, 0]);
    expect(await managed()).toMatchObject({ state: "applied", failures: 0 });
    expect(await logIn()).toBe("+PONG");
    await leap(3 * minute);
    await tickUntil(({ rotated }) => rotated > 0);
    expect(await logIn()).toBe("+PONG");
  } finally {
    cacheUsers.takes(0);
  }
}, 30_000);

it("a secret deleted by hand: the client is told, who is in stays in, and the next ticks make it again", async () => {
  const name = (await managed()).secret;
  await vault.send(new DeleteSecretCommand({ SecretId: name, ForceDeleteWithoutRecovery: true }));
  expect(await logIn()).toMatch(/^-ERR rotation has not set a password of app yet \(.*sally get managed_user/);
  await leap(15 * minute);
  await tickUntil(({ rotated }) => rotated > 0);
  expect(await logIn()).toBe("+PONG");
  expect(await session.get("rotations")).toBe("100");
}, 60_000);

it("a password that somebody changed at AWS: the client is told, it is put right, and it is said who is to blame", async () => {
  const { cacheUsers } = here.world.laptop;
  cacheUsers.changeUser(home, "app", { passwords: [secret("somebody-elses-idea")] });
  await cacheUsers.settled();
  expect(await logIn()).toMatch(/^-\w+ WRONGPASS .*somebody changed it elsewhere.*sally rotate app/);
  await leap(15 * minute);
  await here.tick();
  await cacheUsers.settled();
  expect(await managed()).toMatchObject({
    failures: 1,
    last_error: {
      code: "upstream_refused",
      message: expect.stringContaining("changes this user's passwords elsewhere"),
    },
  });
  expect(await table.events("rotation.repair")).toHaveLength(1);
  expect(await logIn()).toBe("+PONG");
  await leap(2 * minute);
  await tickUntil(({ rotated }) => rotated > 0);
}, 60_000);

it("KMS denied: the client and the administrator are told of the key, and it goes on when the key may be used", async () => {
  const { account } = here.world.laptop;
  const { secret: SecretId } = await managed();
  const needs = "its IAM role needs kms:Decrypt on the key";
  const KmsKeyId = `arn:aws:kms:${account.region}:${account.id}:key/11111111-2222-3333-4444-555555555555`;
  await vault.send(new UpdateSecretCommand({ SecretId, KmsKeyId }));
  expect(await logIn()).toContain(needs);
  await leap(15 * minute);
  expect(await here.tick()).toMatchObject({ failed: 1 });
  const told = expect.stringContaining(needs);
  expect(await managed()).toMatchObject({ failures: 1, last_error: { code: "unavailable", message: told } });
  const { findings } = await admin.call("doctor", {});
  expect(findings).toContainEqual(expect.objectContaining({ level: "problem", text: told }));
  expect(await session.get("rotations")).toBe("100");
  await vault.send(new UpdateSecretCommand({ SecretId, KmsKeyId: "alias/aws/secretsmanager" }));
  expect(await logIn()).toBe("+PONG");
  await leap(2 * minute);
  await tickUntil(({ rotated }) => rotated > 0);
}, 60_000);

it("S-44 a secret that is not ours is left as it is and never read: the client and the administrator are told", async () => {
  const { laptop } = here.world;
  const name = (await managed()).secret.replace("/user/app/", "/user/late/");
  await vault.send(new CreateSecretCommand({ Name: name, SecretString: "theirs-alone" }));
  const late = { type: "password", passwords: [secret("lates-first-password")] } as const;
  laptop.cacheUsers.addUser(home, { id: "late", ...late, tags: { "sallyport/managed": "true" } });
  laptop.cacheUsers.setGroup(home, "crew", ["default", "ann", "app", "keeper", "late"]);
  await leap(6 * minute);
  // the roll is called beside the rotations: the next tick is the first to know
  await here.tick();
  await here.tick();
  const message = expect.stringMatching(/was not made by this deployment\nremove it, or tag it/);
  expect(await managed("late")).toMatchObject({ failures: 1, last_error: { code: "conflict", message } });
  expect((await vault.send(new GetSecretValueCommand({ SecretId: name }))).SecretString).toBe("theirs-alone");
  const { client } = await logInAgain(here.world, "wim");
  const answer = await logIn(plainly(laptop, await bearerOf(client, { user: "late" })));
  expect(answer).toMatch(/^-ERR rotation has not set a password of late yet/);
}, 60_000);

it("S-40 no password, token or key is in any log, audit line, item, event, answer or call", async () => {
  const { laptop, proxies } = here.world;
  session.disconnect();
  const said = await openRedisRaw(place);
  said.say(
    ["AUTH", place.user, place.password],
    ["HELLO", "3", "AUTH", "keeper", "canary-hello-1"],
    ["AUTH", "keeper", "canary-auth-2"],
  );
  said.say(
    ["ACL", "SETUSER", "app", ">canary-setuser-3"],
    ["CONFIG", "SET", "requirepass", "canary-config-4"],
    ["MIGRATE", "h", "1", "k", "0", "1", "AUTH", "canary-migrate-5"],
  );
  await said.lines(6);
  said.close();
  for (const what of ["hello-1", "auth-2", "setuser-3", "config-4", "migrate-5"]) canaries.set(what, `canary-${what}`);
  await eventually("the audit", async () => (await laptop.trail()).join("").includes('"migrate"'), 10_000);
  const listed = await Promise.all(
    (["managed_user", "db", "role", "user"] as const).map((kind) => admin.call("listResources", { kind })),
  );
  const written: Readonly<Record<string, string>> = {
    "the proxies' logs": proxies.map((proxy) => proxy.log()).join(""),
    "the functions' logs": laptop.runtime.log(),
    "the audit": (await laptop.trail()).join("\n"),
    "the table": JSON.stringify(await table.all()),
    "the listings": JSON.stringify(listed),
    "the calls to AWS": JSON.stringify(laptop.aws.calls()),
  };
  for (const [where, text] of Object.entries(written)) {
    expect(text.length, where).toBeGreaterThan(100);
    for (const [what, value] of canaries) expect(text.includes(value), `${what} in ${where}`).toBe(false);
    expect(text, where).not.toMatch(/X-Amz-Signature|X-Amz-Security-Token|secretAccessKey/i);
  }
  expect(canaries.size).toBeGreaterThan(100);
}, 30_000);
