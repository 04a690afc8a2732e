import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isOnPath, missingModule, python, run } from "../e2e/clients/program.ts";
import { authority, dial, domain, iam, nobody, place, stage, token, user } from "./redis-stage.ts";

const cache = stage();
const password = "grace-has-a-long-password";
let folder = "";
let ca = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-ca-"));
  ca = join(folder, "ca.pem");
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  // skipped already where there is no Redis
  await writeFile(ca, authority.ca);
  await cache().apply([nobody, iam("ada"), user("grace")]);
});

describe("redis-cli", () => {
  beforeEach(({ skip }) => skip(!isOnPath("redis-cli"), "no redis-cli: apt install redis-tools"));
  const cli = async (login: string, secret: string, ...args: readonly string[]): Promise<string> => {
    const { host, port } = place(cache());
    const tls = ["--tls", "--cacert", ca, "--sni", `master.${domain}`];
    const words = ["-h", host, "-p", String(port), ...tls, "--no-auth-warning", "--user", login, ...args];
    const { stdout, stderr } = await run("redis-cli", words, { env: { REDISCLI_AUTH: secret } });
    return stdout + stderr;
  };

  test.each([
    ["RESP2", []],
    ["RESP3", ["-3"]],
  ] as const)("logs in with a token and works in %s", async (_, flags) => {
    expect(await cli("ada", token, ...flags, "ACL", "WHOAMI")).toBe("ada\n");
    expect(await cli("ada", token, ...flags, "SET", "cli", "a b")).toBe("OK\n");
    expect(await cli("ada", token, ...flags, "GET", "cli")).toBe("a b\n");
  });

  test("logs in with a password, and is told when it is wrong", async () => {
    expect(await cli("grace", password, "ACL", "WHOAMI")).toBe("grace\n");
    expect(await cli("grace", "wrong", "PING")).toContain("WRONGPASS");
    expect(await cli("ada", password, "PING")).toContain("WRONGPASS");
  });
});

describe("redis-py", () => {
  beforeEach(async ({ skip }) => {
    const missing = await missingModule("redis");
    skip(missing !== undefined, missing);
  });
  const script = `
import json, os, redis
client = redis.Redis(host=os.environ["HOST"], port=int(os.environ["PORT"]), username=os.environ["LOGIN"],
    password=os.environ["PASSWORD"], ssl=True, ssl_ca_certs=os.environ["CA"], ssl_check_hostname=False)
found = {"who": client.acl_whoami()}
pipeline = client.pipeline(transaction=True)
pipeline.set("py", b"\\x00\\xff\\r\\n")
pipeline.get("py")
found["value"] = list(pipeline.execute()[1])
listener = client.pubsub()
listener.subscribe("py-news")
listener.get_message(timeout=5)
client.publish("py-news", "today")
found["news"] = listener.get_message(timeout=5)["data"].decode()
print(json.dumps(found))
`;
  test.each([
    ["a token", "ada", token],
    ["a password", "grace", password],
  ])(
    "logs in with %s and works",
    async (_, login, secret) => {
      const { host, port } = place(cache());
      const env = { HOST: host, PORT: String(port), LOGIN: login, PASSWORD: secret, CA: ca };
      const { stdout, stderr, status } = await run(python, ["-c", script], { env });
      expect(stderr).toBe("");
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ who: login, value: [0, 255, 13, 10], news: "today" });
    },
    60_000,
  );
});

describe("node-redis", () => {
  test.each([2, 3] as const)("logs in with a token and works in RESP%i", async (RESP) => {
    const { host, port, tls } = place(cache());
    const client = createClient({
      RESP,
      username: "ada",
      password: token,
      socket: { host, port, tls: true, ...tls, reconnectStrategy: false },
    });
    client.on("error", () => {});
    await client.connect();
    expect(await client.sendCommand(["ACL", "WHOAMI"])).toBe("ada");
    expect(await client.multi().set("node", "1").incr("node").exec()).toEqual(["OK", 2]);
    client.destroy();
  });
});

describe("ioredis", () => {
  test("logs in with a token, watches, and hears what it subscribes to", async () => {
    const [client, listener] = [
      dial(cache(), { username: "ada", password: token }),
      dial(cache(), { username: "grace", password }),
    ];
    await Promise.all([client.connect(), listener.connect()]);
    const heard = new Promise((answer) => listener.once("message", (_, message) => answer(message)));
    await listener.subscribe("io-news");
    await client.watch("io");
    expect(await client.multi().set("io", "1").get("io").exec()).toEqual([
      [null, "OK"],
      [null, "1"],
    ]);
    await client.publish("io-news", "today");
    expect(await heard).toBe("today");
  });
});
