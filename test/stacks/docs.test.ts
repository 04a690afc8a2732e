// docs/deploy.md and the settings in docs/operations.md, held to what they tell of: what is read, what can be created, what can be
// typed in.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseDocuments } from "@sallyport/cli/document";
import { expect, it } from "vitest";
import { root } from "./bundle.ts";

const run = promisify(execFile);
const page = readFileSync(join(root, "docs/deploy.md"), "utf8");
const source = readFileSync(join(root, "stacks/settings.ts"), "utf8");

it("names every setting, and none that nobody reads", () => {
  const read = [...source.matchAll(/\b(?:text|list|choice|number|read)\("([A-Z_]+)"/g)].map(
    ([, name]) => `DEPLOY_${name}`,
  );
  expect(read.length).toBeGreaterThan(15);
  const told = new Set(page.match(/\bDEPLOY_[A-Z_]+/g));
  expect([...told].sort()).toEqual([...new Set(read)].sort());
});

it("has every setting of functions and proxy in docs/operations.md, and none that nobody reads", () => {
  const files = [
    "packages/proxy/src/settings.ts",
    "functions/compose.ts",
    "functions/certify.ts",
    "functions/rotate.ts",
  ];
  const names = (text: string): readonly string[] => [...new Set(text.match(/\bSALLYPORT_[A-Z_]+\b/g))].sort();
  const read = names(files.map((file) => readFileSync(join(root, file), "utf8")).join("\n"));
  const told = readFileSync(join(root, "docs/operations.md"), "utf8").split("\n");
  const rows = names(told.filter((line) => line.startsWith("| `SALLYPORT_")).join("\n"));
  expect(rows).toEqual(read);
});

it("says that it has not been run against live AWS", () => {
  expect(page).toMatch(/Not yet run against live AWS/);
});

it("shows documents that can be created", () => {
  const shown = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""]) => text.replace(/^ {2,4}/gm, ""));
  expect(shown).toHaveLength(2);
  const documents = shown.flatMap((text) => parseDocuments(text, "docs/deploy.md"));
  expect(documents.map(({ kind }) => kind)).toEqual(["discovery_config", "role"]);
});

const commands = [
  ...new Set([...page.matchAll(/npx sally ([a-z][^`\n]*)/g)].map(([, command = ""]) => command.trim())),
];

it.each(commands)("shows a command that there is: sally %s", async (command) => {
  const words = command.split(" ");
  const named = words.slice(
    0,
    [...words, "-"].findIndex((word) => word.startsWith("-")),
  );
  const { stdout } = await run(process.execPath, [join(root, "packages/cli/src/main.ts"), ...named, "--help"]);
  // one that is not there gets the help of the group it was looked for in
  const [usage = "", path = ""] = /^Usage: sally ([a-z]+(?: [a-z-]+)*).*$/m.exec(stdout) ?? [];
  expect(usage).not.toContain("[command]");
  expect(command.startsWith(path)).toBe(true);
  for (const option of words.filter((word) => word.startsWith("-"))) expect(stdout).toContain(option);
});

it("shows commands of AWS's that version 2 of its tool takes: what is in a payload it reads as base64", () => {
  const pages = [page, readFileSync(join(root, "docs/operations.md"), "utf8")];
  const invocations = pages.flatMap((text) => text.match(/aws lambda invoke [^`\n]*/g) ?? []);
  expect(invocations.length).toBeGreaterThan(0);
  for (const command of invocations)
    expect(command.includes("--payload")).toBe(command.includes("--cli-binary-format raw-in-base64-out"));
});
