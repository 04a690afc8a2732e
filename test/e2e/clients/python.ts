// psycopg2 and asyncpg: a script each (beside this file) that tries everything once and prints what it found.
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { missingModule, python, run } from "./program.ts";
import { type Ground, libpqEnv } from "./way.ts";

type Found = Readonly<Record<string, unknown>>;

const expected = (name: string): readonly (readonly [title: string, key: string, value: unknown])[] => [
  ["is exactly the authorised user", "user", [["reader", "reader"]]],
  ["sends parameters and gets several rows", "rows", [7, 8, 9].map((id) => [id, `item ${id}`])],
  ["sends and gets binary values", "bytes", true],
  ["is told errors with their SQLSTATEs", "errors", ["22012", "22P02", "42501"]],
  ["goes on after an error", "after", [[1]]],
  ["commits and rolls back", "transaction", [[1, "kept"]]],
  ["copies in and out", "copy", true],
  ["listens and is notified", "notify", "hello"],
  ["keeps a prepared statement", "prepared", ["item 1", "item 2", "item 3"]],
  ["sends a batch at once", "batch", [[500]]],
  ["hears notices", "notices", [expect.stringContaining("take note")]],
  ["has its application_name and options at the database", "settings", [`e2e ${name}`, "12345ms"]],
  ["gets and sends a row of 20 MB whole", "large", true],
  ["cancels", "cancel", name === "psycopg2" ? ["57014"] : ["CancelledError"]],
  ["goes on after a cancel", "afterCancel", [[1]]],
];

export const pythonSuite = (name: "psycopg2" | "asyncpg", { way }: Ground): void => {
  describe(`${name} through ${way.name}`, () => {
    let missing: string | undefined;
    let found: Found = {};
    beforeAll(async () => {
      missing = await missingModule(name);
      if (missing !== undefined) return;
      const script = join(import.meta.dirname, `${name}_client.py`);
      const { status, stdout, stderr } = await run(python, [script], { env: libpqEnv(await way.place()) });
      if (status !== 0) throw new Error(`${name} ended with ${status}:\n${stderr}`);
      found = JSON.parse(stdout) as Found;
    }, 60_000);
    beforeEach(({ skip }) => skip(missing !== undefined, missing));

    it.each(expected(name))("%s", (_, key, value) => {
      expect(found[key]).toEqual(value);
    });
  });
};
