// The protocol with a stock client on one side and a real redis-server on the other, by both ways in.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createClient } from "redis";
import { expect, test } from "vitest";
import { caFile, connect, connectToken, linesOf, openDoor, speak, stage } from "./house.ts";

const run = promisify(execFile);
/** Debian's, which its packages are for. */
const python = "/usr/bin/python3";
stage();

for (const way of ["plain", "gate"] as const) {
  test(`by the ${way} way a client logs in and works`, async () => {
    const door = await openDoor(way);
    const client = connect(door, way);
    expect(await client.set("k", "v")).toBe("OK");
    expect(await client.get("k")).toBe("v");
    expect(await client.acl("WHOAMI")).toBe("ada");
    const many = client.pipeline();
    for (let at = 0; at < 2_000; at++) many.incr("n");
    expect((await many.exec())?.at(-1)).toEqual([null, 2_000]);
    expect(await client.multi().set("a", "1").get("a").exec()).toEqual([
      [null, "OK"],
      [null, "1"],
    ]);
    await client.quit();
    expect(JSON.stringify(linesOf(door))).not.toContain(connectToken);
    expect(linesOf(door)).toContainEqual({ type: "command", command: "set", args: ["k", "v"] });
  });

  test(`by the ${way} way refused commands answer in their place`, async () => {
    const door = await openDoor(way);
    const client = connect(door, way);
    const said = await client
      .pipeline()
      .set("k", "v")
      .config("GET", "maxmemory")
      .get("k")
      .call("MONITOR")
      .get("k")
      .exec();
    expect(said?.map(([error, value]) => error?.message ?? value)).toEqual([
      "OK",
      expect.stringContaining("NOPERM CONFIG is not allowed"),
      "v",
      expect.stringContaining("NOPERM MONITOR is not allowed"),
      "v",
    ]);
  });
}

test("node-redis speaks RESP3: pub/sub beside commands, and what it keeps is invalidated", async () => {
  const door = await openDoor("gate");
  const one = createClient({ url: `redis://127.0.0.1:${door.port}`, RESP: 3, socket: { reconnectStrategy: false } });
  const other = createClient({ url: `redis://127.0.0.1:${door.port}`, RESP: 3, socket: { reconnectStrategy: false } });
  const gone: unknown[] = [];
  for (const client of [one, other]) client.on("error", (thrown: unknown) => gone.push(thrown));
  await Promise.all([one.connect(), other.connect()]);
  const { promise: heard, resolve } = Promise.withResolvers<string>();
  await one.subscribe("news", (message) => resolve(message));
  expect(await one.hSet("h", { a: "1", b: "2" })).toBe(2);
  expect({ ...(await one.hGetAll("h")) }).toEqual({ a: "1", b: "2" });
  expect(await other.publish("news", "hello")).toBe(1);
  expect(await heard).toBe("hello");
  expect(await one.sendCommand(["CLIENT", "TRACKING", "ON"])).toBe("OK");
  await one.get("h2");
  await other.set("h2", "x");
  expect(await one.get("h2")).toBe("x");
  await one.unsubscribe("news");
  await Promise.all([one.close(), other.close()]);
  expect(gone).toEqual([]);
});

test("what blocks, watches, scripts and streams works as without a proxy", async () => {
  const door = await openDoor("gate");
  const [one, other] = [connect(door, "gate"), connect(door, "gate")];
  const waiting = one.blpop("q", 0);
  await other.rpush("q", "job");
  expect(await waiting).toEqual(["q", "job"]);
  await one.watch("k");
  await other.set("k", "changed");
  expect(await one.multi().set("k", "mine").exec()).toBeNull();
  expect(await one.eval("return {KEYS[1], ARGV[1], 7}", 1, "k", "v")).toEqual(["k", "v", 7]);
  const sha = String(await one.script("LOAD", "return redis.call('get', KEYS[1])"));
  expect(await one.evalsha(sha, 1, "k")).toBe("changed");
  await expect(one.eval("return redis.call('config', 'get', 'x')", 0)).rejects.toThrow(/not allowed from script/);
  const big = Buffer.alloc(3_000_000, "x");
  await one.set("big", big);
  expect((await one.getBuffer("big"))?.equals(big)).toBe(true);
  expect(await one.select(1)).toBe("OK");
  expect(await one.get("k")).toBeNull();
  await one.client("SETNAME", "worker");
  expect(await one.client("GETNAME")).toBe("worker");
});

test("RESET and own AUTH at a real server", async () => {
  const door = await openDoor("gate");
  const { socket, until } = await speak(door);
  socket.write(
    "MULTI\r\nSET k v\r\nRESET\r\nACL WHOAMI\r\nAUTH bob bob-has-a-password\r\nACL WHOAMI\r\nGET k\r\nAUTH ada x\r\nACL WHOAMI\r\nQUIT\r\n",
  );
  const heard = await until("+OK\r\n$3\r\nada\r\n+OK\r\n");
  expect(heard).toMatch(
    /^\+OK\r\n\+QUEUED\r\n\+RESET\r\n\$3\r\nada\r\n\+OK\r\n\$3\r\nbob\r\n-NOPERM [^\r]*\r\n\+OK\r\n\$3\r\nada\r\n\+OK\r\n$/,
  );
  expect(JSON.stringify(linesOf(door))).not.toContain("bob-has-a-password");
});

test("redis-cli works in RESP2 and RESP3, by the plain way with TLS and by the gate", async () => {
  const plain = await openDoor("plain");
  const gate = await openDoor("gate");
  const secured = ["--tls", "--cacert", await caFile(), "--user", "ada", "-h", "localhost"];
  const asked = ["SET", "greeting", "hello"];
  for (const version of ["-2", "-3"])
    for (const words of [
      [...secured, "-p", String(plain.port)],
      ["-h", "127.0.0.1", "-p", String(gate.port)],
    ]) {
      const { stdout } = await run("redis-cli", [...words, version, ...asked], {
        env: { ...process.env, REDISCLI_AUTH: connectToken },
      });
      expect(stdout.trim().split("\n").at(-1)).toBe("OK");
    }
  const { stdout } = await run("redis-cli", ["-p", String(gate.port), "CONFIG", "GET", "dir"]);
  expect(stdout).toMatch(/NOPERM CONFIG is not allowed through this proxy/);
});

test("redis-py logs in, pipelines, subscribes, and is told when it is not let in", async ({ skip }) => {
  const known = await run(python, ["-c", "import redis"]).catch(() => undefined);
  skip(!known, "no redis-py here: apt-get install python3-redis");
  const door = await openDoor("plain");
  const script = `
import redis, sys
def client(password):
    return redis.Redis(host="localhost", port=${door.port}, username="ada", password=password, ssl=True, ssl_ca_certs=sys.argv[1], ssl_check_hostname=True)
r = client("${connectToken}")
assert r.set("k", "v") and r.get("k") == b"v"
with r.pipeline(transaction=True) as p:
    assert p.incr("n").get("k").execute() == [1, b"v"]
s = r.pubsub()
s.subscribe("c")
assert s.get_message(timeout=5)["type"] == "subscribe"
r.publish("c", "hi")
assert s.get_message(timeout=5)["data"] == b"hi"
s.close()
r.close()
try:
    client("wrong").ping()
except redis.exceptions.RedisError as error:
    print("refused", error)
`;
  const { stdout } = await run(python, ["-c", script, await caFile()]);
  expect(stdout).toMatch(/^refused .*connect token is not good/);
});
