// Every connection that sally prints for Redis' clients, taken by them as printed: it works. The shell that sally opens by itself,
// and a password that is rotated by hand while somebody stays logged in by the one before.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createServer, type Server } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeWorld, type World } from "../cli/world.ts";
import { missingModule, type Outcome, python, run } from "./clients/program.ts";
import { type Counter, missing, openCounter, rotated } from "./redis-world.ts";
import { password } from "./world.ts";

const main = join(import.meta.dirname, "../../packages/cli/src/main.ts");

let counter: Counter;
let own: World;
let impostor: Server;
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  own = makeWorld();
  own.clock.set(Date.now());
  counter = await openCounter();
  await counter.world.person("ana", ["caches", "admin"]);
  // whoever answers here has a certificate for the right name, from another authority
  const identity = await counter.world.laptop.authority.issue(["localhost"]);
  impostor = createServer({ cert: identity.cert, key: identity.key }).on("tlsClientError", () => {});
  impostor.listen(0, "127.0.0.1");
  await once(impostor, "listening");
  const login = ["login", "--server", counter.world.laptop.api, "--user", "ana"];
  expect((await own.run(login, { input: `${password}\n` })).status).toBe(0);
});
afterAll(async () => {
  impostor?.close();
  await counter?.close();
  own?.close();
});

const env = () => ({
  ...{ XDG_CONFIG_HOME: own.folder, PATH: process.env["PATH"] ?? "" },
  REDISCLI_AUTH: "a password of one's own",
});
/** In a process of its own, with programs of its own. */
const sally = (args: string, input = ""): Promise<Outcome> =>
  run(process.execPath, [main, ...args.split(" ")], { input, env: env() });
const shell = (script: string): Promise<Outcome> => run("sh", ["-c", script], { env: env() });
const printed = async (args: string): Promise<string> => {
  const { status, stdout, stderr } = await own.run(args.split(" "));
  expect([status, stderr]).toEqual([0, expect.anything()]);
  return stdout.trim();
};
const whoami = `import os, redis; print(redis.Redis.from_url(os.environ["REDIS_URL"]).acl_whoami())`;

describe("what is printed", () => {
  it("sally db login -f cmd: redis-cli logs in by it, and its arguments hold no token", async () => {
    const line = await printed("db login till -u ann -f cmd");
    expect(line.slice(line.indexOf("redis-cli"))).not.toContain("sly_");
    expect(await shell(`${line} acl whoami`)).toEqual({ status: 0, stdout: "ann\n", stderr: "" });
  });
  it("S-21 redis-cli as printed refuses a certificate of another authority", async () => {
    const line = await printed("db login till -u ann -f cmd");
    const address = impostor.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const { status, stdout, stderr } = await shell(`${line.replace(/-p \d+/, `-p ${port}`)} ping`);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/certificate verify failed/);
  });
  it("S-21 sally db env: redis-py logs in by REDIS_URL, and refuses our certificate under another name", async ({
    skip,
  }) => {
    const absent = await missingModule("redis");
    skip(absent !== undefined, absent);
    await printed("db login till -u ann");
    const url = /REDIS_URL='([^']+)'/.exec(await printed("db env till"))?.[1] ?? "";
    const ask = (REDIS_URL: string) => run(python, ["-c", whoami], { env: { ...env(), REDIS_URL } });
    expect(await ask(url)).toEqual({ status: 0, stdout: "ann\n", stderr: "" });
    const renamed = await ask(url.replace("@localhost:", "@127.0.0.1:"));
    expect([renamed.status, renamed.stdout]).toEqual([1, ""]);
    expect(renamed.stderr).toMatch(/certificate verify failed/);
  });
  it.each(["till", "wares"])(
    "sally db connect opens redis-cli on %s as the user, whatever password is in the environment",
    async (database) => {
      const said = "acl whoami\nset printed 1\nget printed\n";
      expect(await sally(`db connect ${database} -u ann`, said)).toEqual({
        status: 0,
        stdout: "ann\nOK\n1\n",
        stderr: "",
      });
    },
  );
});

it("sally rotate changes a password by hand, waits until it counts, and cuts nobody", async () => {
  await rotated(counter);
  const { account, region } = counter.world.laptop;
  const name = `app-elasticache-${region}-${account.id}`;
  const look = async () => JSON.parse(await printed(`get managed_user/${name} -f json`)).spec;
  const before = await look();
  // somebody is inside meanwhile
  const inside = spawn(process.execPath, [main, "db", "connect", "till", "-u", "app"], { env: env() });
  const heard: string[] = [];
  inside.stdout.setEncoding("utf8").on("data", (text: string) => heard.push(text));
  inside.stdin.write("set kept 1\n");
  await once(inside.stdout, "data");
  // the minutes that sally waits go by in runs of the schedule
  const sleep = async (): Promise<void> => void (await counter.tick());
  const { status, stdout, stderr } = await own.run(["rotate", name], { sleep });
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^app-elasticache-\S+ rotated; next at \S+\n$/)]);
  expect(stderr).toMatch(/ applied: AWS tells every node of the new password\n/);
  const after = await look();
  expect(after.budget).toEqual({ ...before.budget, spare: { used: before.budget.spare.used + 1, most: 2 } });
  expect(after.last_success > before.last_success).toBe(true);
  inside.stdin.end("get kept\n");
  expect(await once(inside, "exit")).toEqual([0, null]);
  expect(heard.join("")).toBe("OK\n1\n");
  expect(await sally("db connect till -u app", "get kept\n")).toMatchObject({ status: 0, stdout: "1\n" });
});
