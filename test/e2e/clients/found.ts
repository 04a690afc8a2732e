// Clients of the MySQL family that are no JavaScript: a script each (beside this file) that tries everything once and prints
// what it found.
import { accessSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Ground } from "../mysql-world.ts";
import { isOnPath, missingModule, type Outcome, python, run } from "./program.ts";
import type { Place } from "./way.ts";

type Expected = readonly (readonly [title: string, key: string, value: unknown])[];
interface Script {
  readonly name: string;
  /** Why it can't run here; undefined when it can. */
  missing(): Promise<string | undefined>;
  start(env: Readonly<Record<string, string>>): Promise<Outcome>;
  read(stdout: string): Readonly<Record<string, unknown>>;
  readonly expected: Expected;
}

const jar = "/usr/share/java/mariadb-java-client.jar";
const beside = (file: string): string => join(import.meta.dirname, file);
const envOf = (place: Place): Readonly<Record<string, string>> => ({
  HOST: place.host,
  PORT: String(place.port),
  USERNAME: place.user,
  PASSWORD: place.password,
  DATABASE: place.database,
  ...(place.caFile !== undefined && { CA: place.caFile }),
});

const isThere = (file: string): boolean => {
  try {
    accessSync(file);
    return true;
  } catch {
    return false;
  }
};

export const pymysql: Script = {
  name: "PyMySQL",
  missing: () => missingModule("pymysql"),
  start: (env) => run(python, [beside("pymysql_client.py")], { env }),
  read: (stdout) => JSON.parse(stdout) as Readonly<Record<string, unknown>>,
  expected: [
    ["is exactly the authorised user", "user", [["reader@%", "orders"]]],
    ["sends parameters and gets several rows", "rows", [7, 8, 9].map((id) => [id, `item ${id}`])],
    ["sends and gets binary values", "bytes", true],
    ["is told errors with their numbers", "errors", [1064, 1142, 1146]],
    ["goes on after an error", "after", [[1]]],
    ["commits and rolls back", "transaction", [[1, "kept"]]],
    ["sends a batch at once", "batch", [[500]]],
    ["reads unbuffered", "unbuffered", [1, 2, 998]],
    ["gets and sends a row of 20 MB whole", "large", true],
    ["chooses another database", "selected", [["information_schema"]]],
    ["cancels by KILL QUERY", "cancel", 1317],
    ["goes on after a cancel", "afterCancel", [[1]]],
  ],
};

export const connectorJ: Script = {
  name: "MariaDB Connector/J",
  missing: async () => {
    if (!isThere(jar)) return `no ${jar}: apt install libmariadb-java`;
    if (!isOnPath("javac")) return "no compiler for Java: apt install default-jdk-headless";
    return undefined;
  },
  start: (env) => run("java", ["-Xmx512m", "-cp", jar, beside("ConnectorJ.java")], { env }),
  read: (stdout) =>
    Object.fromEntries(
      stdout
        .trim()
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    ),
  expected: [
    ["is exactly the authorised user", "user", "reader@%"],
    ["keeps a prepared statement", "prepared", "item 1;item 2;item 3;"],
    ["sends and gets binary values", "bytes", "true"],
    ["is told errors with their numbers", "errors", "1064,1142"],
    ["goes on after an error", "after", "1"],
    ["commits and rolls back", "transaction", "kept"],
    ["sends a batch", "batch", "500"],
    ["reads by a cursor on the server", "cursor", "1000"],
    ["gets and sends a row of 20 MB whole", "large", "true"],
    ["cancels", "cancel", "1317"],
    ["goes on after a cancel", "afterCancel", "1"],
  ],
};

export const scriptSuite = (script: Script, { way }: Ground): void => {
  describe(`${script.name} through ${way.name}`, () => {
    let missing: string | undefined;
    let found: Readonly<Record<string, unknown>> = {};
    beforeAll(async () => {
      missing = await script.missing();
      if (missing !== undefined) return;
      const { status, stdout, stderr } = await script.start(envOf(await way.place()));
      if (status !== 0) throw new Error(`${script.name} ended with ${status}:\n${stdout}${stderr}`);
      found = script.read(stdout);
    }, 60_000);
    beforeEach(({ skip }) => skip(missing !== undefined, missing));

    it.each(script.expected)("%s", (_, key, value) => {
      expect(found[key]).toEqual(value);
    });
  });
};
