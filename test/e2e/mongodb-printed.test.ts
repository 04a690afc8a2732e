// Every connection that sally prints for MongoDB's clients, taken by mongosh as printed: it works, and it refuses whoever is not our
// proxy. And the shell that sally opens by itself.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createServer, type Server } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { missingMongosh, mongosh } from "./clients/mongosh.ts";
import { type Outcome, run } from "./clients/program.ts";
import { openShelf, type Shelf } from "./mongodb-world.ts";
import { password } from "./world.ts";

const main = join(import.meta.dirname, "../../packages/cli/src/main.ts");
const who = "db.runCommand({ connectionStatus: 1 }).authInfo.authenticatedUsers[0].user";
const flags = `--norc --quiet --eval '${who}'`;

let shelf: Shelf;
let home = "";
let impostor: Server;
beforeAll(async () => {
  if (missingMongosh !== undefined) return;
  home = await mkdtemp(join(tmpdir(), "sally-home-"));
  shelf = await openShelf();
  await shelf.world.person("ana", ["documents"]);
  // whoever answers here has a certificate for the right name, from another authority
  const identity = await shelf.world.laptop.authority.issue(["localhost"]);
  impostor = createServer({ cert: identity.cert, key: identity.key }).on("tlsClientError", () => {});
  impostor.listen(0, "127.0.0.1");
  await once(impostor, "listening");
  expect((await sally(`login --server ${shelf.world.laptop.api} --user ana`, `${password}\n`)).status).toBe(0);
});
afterAll(async () => {
  impostor?.close();
  await shelf?.close();
  if (home !== "") await rm(home, { recursive: true, force: true });
});
beforeEach(({ skip }) => skip(missingMongosh !== undefined, missingMongosh));

const env = () => ({ HOME: home, PATH: `${dirname(mongosh)}${delimiter}${process.env["PATH"]}` });
const sally = (args: string, input = ""): Promise<Outcome> =>
  run(process.execPath, [main, ...args.split(" ")], { input, env: env() });
const shell = (script: string): Promise<Outcome> => run("sh", ["-c", script], { env: env() });
const wish = "shelf -u writer -n orders";
const printed = async (args: string): Promise<string> => {
  const { status, stdout, stderr } = await sally(args);
  expect([status, stderr]).toEqual([0, expect.anything()]);
  return stdout.trim();
};

/** Each form as a shell script that a person would run with it. */
const forms: readonly (readonly [string, () => Promise<string>])[] = [
  ["sally db login", async () => `mongosh '${await printed(`db login ${wish}`)}' ${flags}`],
  ["sally db login -f cmd", async () => `${await printed(`db login ${wish} -f cmd`)} ${flags}`],
  [
    "MONGODB_URI of sally db env",
    async () => {
      await printed(`db login ${wish}`);
      return `${await printed("db env shelf")}\nmongosh "$MONGODB_URI" ${flags}`;
    },
  ],
];

describe.each(forms)("%s", (_, make) => {
  it("works as printed", async () => {
    expect(await shell(await make())).toEqual({ status: 0, stdout: `${shelf.roleArn("writer")}\n`, stderr: "" });
  });
});

it("S-21 a printed URL refuses somebody else's certificate, and ours under another name", async () => {
  const url = await printed(`db login ${wish}`);
  const address = impostor.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const quick = (text: string): string =>
    `mongosh '${text.replace("retryWrites", "serverSelectionTimeoutMS=3000&$&")}' ${flags}`;
  const elsewhere = url.replace(`:${shelf.world.laptop.ports.mongodb}/`, `:${port}/`);
  expect(elsewhere).not.toBe(url);
  const stranger = await shell(quick(elsewhere));
  expect([stranger.status, stranger.stdout]).toEqual([1, ""]);
  expect(stranger.stderr).toMatch(/unable to verify|self.signed certificate|unable to get/i);
  const renamed = await shell(quick(url.replace("@localhost:", "@127.0.0.1:")));
  expect([renamed.status, renamed.stdout]).toEqual([1, ""]);
  expect(renamed.stderr).toMatch(/does not match certificate/);
});

it("sally db connect opens mongosh on the database, as the role", async () => {
  const { status, stdout, stderr } = await sally(
    `db connect ${wish}`,
    `print("who " + ${who})\nprint("in " + db.getName())\n`,
  );
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toContain(`who ${shelf.roleArn("writer")}`);
  expect(stdout).toContain("in orders");
});
