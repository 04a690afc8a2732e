// redis-py: a script beside this file that tries everything once and prints what it found, as Redis and as RedisCluster.
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Ground, missing as noServer } from "../redis-world.ts";
import { redisUrl } from "./ioredis.ts";
import { missingModule, python, run } from "./program.ts";

type Expected = readonly (readonly [title: string, key: string, value: unknown])[];
const wrongType = "Operation against a key holding the wrong kind of value";
const both: Expected = [
  ["writes and reads strings, hashes and lists", "values", ["grün", { a: "1", b: "2" }, ["x", "y"], null]],
  ["sends a pipeline, whose answers come in order", "pipeline", true],
  ["runs a script", "script", true],
  [
    "is told errors as what they are",
    "errors",
    [
      ["ResponseError", "value is not an integer or out of range"],
      ["ResponseError", `WRONGTYPE ${wrongType}`],
    ],
  ],
  ["goes on after an error", "after", "grün"],
  [
    "hears a channel",
    "pubsub",
    [
      ["subscribe", 1],
      ["message", "hello"],
    ],
  ],
  ["scans every key", "scan", true],
  ["deletes many keys at once", "deleted", 50],
  ["carries 20 MB whole", "large", true],
];
const single: Expected = [
  ["carries out a transaction", "transaction", [true, 2, "2"]],
  ["gives one up where a watched key has changed", "watched", ["WatchError", "Watched variable changed."]],
  ["waits in a blocking command while others work", "blocking", true],
];

const suite = ({ way, database, user }: Ground, clustered: boolean): void => {
  describe(`redis-py's ${clustered ? "RedisCluster" : "Redis"} on ${database} as ${user} through ${way.name}`, () => {
    let absent: string | undefined;
    let found: Readonly<Record<string, unknown>> = {};
    let at: readonly [string, number] = ["", 0];
    beforeAll(async () => {
      absent = noServer ?? (await missingModule("redis"));
      if (absent !== undefined) return;
      const place = await way.place();
      at = [place.host, place.port];
      const mark = `redis-py${clustered ? "-cluster" : ""}-${way.name.split(" ").at(-1)}`;
      const env = { URL: redisUrl(place), MARK: mark, ...(clustered && { CLUSTER: "1" }) };
      const { status, stdout, stderr } = await run(python, [join(import.meta.dirname, "redis_client.py")], { env });
      if (status !== 0) throw new Error(`redis-py ended with ${status}:\n${stderr}`);
      found = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
    }, 60_000);
    beforeEach(({ skip }) => skip(absent !== undefined, absent));

    it("is exactly the authorised user", () => {
      expect(found["user"]).toEqual(user);
    });
    it.each([...both, ...(clustered ? [] : single)])("%s", (_, key, value) => {
      expect(found[key]).toEqual(value);
    });
    if (clustered)
      it("sees one node, at the address that it dialled", () => {
        // it says localhost's address for it
        const [host, port] = at;
        expect(found["nodes"]).toEqual([[host.replace("localhost", "127.0.0.1"), port, "primary"]]);
      });
  });
};

export const redisPySuite = (ground: Ground): void => {
  suite(ground, false);
  if (ground.database === "wares") suite(ground, true);
};
