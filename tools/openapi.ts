// Writes docs/openapi.json from the route table. Refuses what would break a client of the one that is there, unless that is meant:
// `node tools/openapi.ts --breaking`. With `--check` it writes nothing and fails when the file is not what it should be.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { breakingChanges } from "./compatibility.ts";
import { makeOpenApi, type OpenApi } from "./contract.ts";

const file = resolve(import.meta.dirname, "../docs/openapi.json");

const readCommitted = (): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

const { check, breaking } = parseArgs({
  options: { check: { type: "boolean", default: false }, breaking: { type: "boolean", default: false } },
}).values;
const before = readCommitted();
const after = makeOpenApi();
const text = `${JSON.stringify(after, undefined, 2)}\n`;
const changes = before === "" ? [] : breakingChanges(JSON.parse(before) as OpenApi, after);

for (const change of changes) console.log(`breaks clients: ${change}`);
if (check) {
  if (text !== before) console.log("docs/openapi.json is not up to date: node tools/openapi.ts");
  process.exitCode = text === before ? 0 : 1;
} else if (changes.length > 0 && !breaking) {
  console.log("not written: mend it, or run this with --breaking when it is meant and say so in CHANGELOG.md");
  process.exitCode = 1;
} else if (text !== before) {
  writeFileSync(file, text);
  console.log("docs/openapi.json written");
}
