// pymongo from apt, an older driver: its first hello is an OP_QUERY. By both ways in, before a target that is ours.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { certificate, connectToken, linesOf, openDoor } from "./house.ts";

const run = promisify(execFile);
const python = "/usr/bin/python3";
const installed = await run(python, ["-c", "import pymongo"]).then(
  () => true,
  () => false,
);
let folder: string;
let ca: string;
beforeEach(({ skip }) => skip(!installed, "no pymongo here: apt install python3-pymongo"));
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-pymongo-"));
  ca = join(folder, "ca.pem");
  await writeFile(ca, certificate.ca);
});
afterAll(() => rm(folder, { recursive: true }));

const script = `
import json, sys, pymongo
client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=5000)
items = client.orders[sys.argv[2]]
inserted = len(items.insert_many([{"n": n, "text": "x" * 1000} for n in range(500)]).inserted_ids)
found = [one["n"] for one in items.find({}, batch_size=50)]
hello = client.admin.command("ismaster")
try:
    client.orders.command("nope")
    code = 0
except pymongo.errors.OperationFailure as error:
    code = error.code
print(json.dumps({"inserted": inserted, "found": found == list(range(500)), "msg": hello["msg"], "code": code}))
`;

describe.each(["plain", "gate"] as const)("%s", (way) => {
  test.each([false, true])(
    "pymongo writes, reads and is refused in words, directConnection=%s",
    async (direct) => {
      const door = await openDoor(way);
      const more = `retryWrites=false${direct ? "&directConnection=true" : ""}`;
      const url =
        way === "gate"
          ? `mongodb://127.0.0.1:${door.port}/?${more}`
          : `mongodb://reader:${connectToken}@127.0.0.1:${door.port}/?authMechanism=PLAIN&authSource=%24external&tls=true&tlsCAFile=${encodeURIComponent(ca)}&${more}`;
      const { stdout } = await run(python, ["-c", script, url, `py-${way}-${direct}`], { timeout: 25_000 });
      expect(JSON.parse(stdout)).toEqual({ inserted: 500, found: true, msg: "isdbgrid", code: 59 });
      const lines = linesOf(door);
      expect(lines).toContainEqual({ type: "complete", command: "insert", rows: 500 });
      expect(lines).toContainEqual(expect.objectContaining({ type: "error", command: "nope", code: 59 }));
    },
    30_000,
  );
});
