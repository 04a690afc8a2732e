import { spawn } from "node:child_process";
import { rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { launcher } from "@sallyport/local/launcher";
import { findBinaries, haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { startRedis } from "@sallyport/local/redis/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

const installed = await haveBinaries();
beforeEach(({ skip }) => skip(!installed, `no Redis here: ${howToInstall}`));
afterEach(() => {
  vi.unstubAllEnvs();
});

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("one server is there for its superuser alone, in a folder of its own, and leaves nothing", async () => {
  const redis = await startRedis();
  const [node] = redis.nodes;
  if (!node) throw new Error("no node");
  expect(redis.version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(await node.command("ACL", "WHOAMI")).toBe("cacheadmin");
  expect(await node.command("ACL", "USERS")).toEqual(["cacheadmin", "default"]);
  expect(await node.command("ACL", "GETUSER", "default")).toEqual(
    expect.arrayContaining([["off", "sanitize-payload"]]),
  );
  expect(await node.command("CONFIG", "GET", "port")).toEqual(["port", "0"]);
  expect(node.port).toBe(0);
  for (const folder of [dirname(node.socket), dirname(dirname(node.socket))])
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  await redis.stop();
  expect(lives(node.pid)).toBe(false);
  expect(await isThere(dirname(dirname(node.socket)))).toBe(false);
});

test("it never runs as root", async () => {
  const redis = await startRedis();
  const { uid } = await stat(redis.nodes[0]?.socket ?? "");
  expect(uid).not.toBe(0);
  await redis.stop();
});

test("a refused command is a failure in the server's words, and the next one is answered", async () => {
  const redis = await startRedis();
  const [node] = redis.nodes;
  await expect(node?.command("GET")).rejects.toThrow("ERR wrong number of arguments for 'get' command");
  expect(await node?.command("INCR", "n")).toBe(1);
  expect(await node?.command("GET", "none")).toBeNull();
  await redis.stop();
  await expect(node?.command("PING")).rejects.toMatchObject({ code: "unavailable" });
});

test("a replica has what its primary has, and takes over when it is told to", async () => {
  const redis = await startRedis({ replicas: 1 });
  const [primary, replica] = redis.nodes;
  await primary?.command("SET", "a", "1");
  await expect.poll(() => replica?.command("GET", "a"), { timeout: 10_000 }).toBe("1");
  await expect(replica?.command("SET", "a", "2")).rejects.toThrow("READONLY");
  await redis.promote(1);
  expect([await redis.isPrimary(0), await redis.isPrimary(1)]).toEqual([false, true]);
  await replica?.command("SET", "a", "3");
  await expect.poll(() => primary?.command("GET", "a"), { timeout: 10_000 }).toBe("3");
  await redis.stop();
});

test("a server that does not start says why", async () => {
  await expect(startRedis({ settings: { "no-such-directive": "1" } })).rejects.toThrow("Bad directive");
});

test("where there is no Redis it says how to get it", async () => {
  vi.stubEnv("PATH", "/nowhere");
  const found = await findBinaries().catch((thrown: unknown) => thrown);
  // Debian's place is looked at too
  expect(found).toMatchObject(
    (await isThere("/usr/bin/redis-server"))
      ? { server: "/usr/bin/redis-server" }
      : { code: "unsupported", hint: howToInstall },
  );
});

test("it ends with the process that started it, even when that is killed outright", async ({ skip }) => {
  skip(launcher("KILL").length === 0, "no setpriv here: apt install util-linux");
  const module = new URL("../../packages/local/src/redis/server.ts", import.meta.url).href;
  const code = `const { nodes: [node] } = await (await import(${JSON.stringify(module)})).startRedis();
    console.log(JSON.stringify([node.pid, node.socket])); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "ignore"] });
  const line = await new Promise<string>((answer) => {
    child.stdout.once("data", (bytes: Buffer) => answer(bytes.toString()));
  });
  const [pid, socket] = JSON.parse(line) as [number, string];
  expect(lives(pid)).toBe(true);
  child.kill("SIGKILL");
  await expect.poll(() => lives(pid), { timeout: 10_000 }).toBe(false);
  // nobody was left to do it
  await rm(dirname(dirname(socket)), { recursive: true });
});
