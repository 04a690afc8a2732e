// A cache of ElastiCache whose user `reader` has a password that nobody knows: it is rotated while a client works with it.
import { readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { secret } from "@sallyport/core/secret";
import type { Laptop } from "@sallyport/local/laptop";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { Redis } from "ioredis";
import { loginUrl, onPath, type Person } from "./sally.ts";
import { command, good, say, step } from "./terminal.ts";

/** How long AWS takes to change a user, in milliseconds; on AWS it is a minute or two. */
const changeFor = 500;

/** Adds it where Redis is installed; says how to get it where it is not. */
export const openTill = async (laptop: Laptop, tags: Readonly<Record<string, string>>): Promise<boolean> => {
  const found = await haveBinaries();
  if (!found) {
    say(`no Redis on this machine, so the tour goes without; get it with: ${howToInstall}`);
    return false;
  }
  const { account, cacheUsers, region } = laptop;
  const place = { service: "elasticache", accountId: account.id, region } as const;
  cacheUsers.takes(changeFor);
  for (const id of ["default", "reader"]) {
    const login = { type: "password" as const, passwords: [secret("somebody-knows-this-one")] };
    if (id === "default") cacheUsers.changeUser(place, id, { ...login, accessString: "off -@all" });
    else cacheUsers.addUser(place, { id, ...login, tags: { "sallyport/managed": "true" } });
  }
  cacheUsers.setGroup(place, "crew", ["default", "reader"]);
  await laptop.databases.addReplicationGroup({ id: "till", userGroups: ["crew"], tags });
  good(
    `a real Redis ${found.version} and its replica: ElastiCache replication group till (env: dev), whose user reader is tagged sallyport/managed`,
  );
  return true;
};

/** The function rotate, as often as it takes; on AWS it runs once a minute. */
const rotateNow = async ({ runtime }: Laptop): Promise<number> => {
  for (let runs = 1; runs <= 40; runs++) {
    const { rotated } = (await runtime.invoke("rotate", {})) as { readonly rotated: number };
    if (rotated > 0) return runs;
    await wait(changeFor / 2);
  }
  throw new Error("the password was not rotated");
};

/** Somebody who counts, and whom nobody may disturb. */
const openCounter = async (ana: Person, laptop: Laptop) => {
  command("npx sally db login till -u reader");
  const client = new Redis(await loginUrl(ana, "till", "-u", "reader"), {
    tls: { ca: await readFile(laptop.caFile, "utf8") },
    retryStrategy: () => null,
  });
  let why: string | undefined;
  client.on("error", (error: Error) => {
    why = error.message;
  });
  let stop = false;
  const counting = (async () => {
    for (; !stop; await wait(200)) await client.incr("visits");
  })();
  counting.catch((error: Error) => {
    why ??= error.message;
  });
  return async (): Promise<{ user: unknown; visits: number }> => {
    stop = true;
    await counting;
    if (why !== undefined) throw new Error(`the client was disturbed: ${why}`);
    const found = { user: await client.call("ACL", "WHOAMI"), visits: Number(await client.get("visits")) };
    client.disconnect();
    return found;
  };
};

export const rotating = async (admin: Person, ana: Person, laptop: Laptop): Promise<void> => {
  step("a password that nobody knows, and that changes every 15 minutes: Redis on ElastiCache");
  const runs = await rotateNow(laptop);
  good(
    `rotated for the first time, in ${runs} runs of the function that AWS starts every minute; it logs in at every node`,
  );
  await admin.run(["get", "managed_user"]);
  const finish = await openCounter(ana, laptop);
  await admin.run(["rotate", "reader", "--no-wait"]);
  await rotateNow(laptop);
  const found = await finish();
  good(`ioredis, by the plain port, all the while: ${JSON.stringify(found)}`);
  if (!onPath("redis-cli"))
    return say("redis-cli is not on PATH: apt-get install redis-tools to see sally db connect here");
  await ana.run(["db", "connect", "till", "-u", "reader"], { input: "acl whoami\nincr visits\n" });
  const { stdout } = await admin.run(["get", "managed_user/reader", "-f", "json"], { quiet: true });
  const { spec } = JSON.parse(stdout) as { spec: { state: string; last_success: string; secret: string } };
  good(`managed_user/reader is ${spec.state}, rotated at ${spec.last_success}; its secret is ${spec.secret}`);
};
