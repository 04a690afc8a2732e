// sally audit verify: whoever changes, takes out, moves or adds a record is found out, whatever lines are in the files.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { at, edit, is, put, type Told, without, writeAudit } from "./trail.ts";
import { makeWorld, type World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = makeWorld();
});
afterEach(() => world.close());

it.each<[string, (lines: Told[]) => readonly Told[], RegExp]>([
  [
    "a record changed",
    (lines) => put(lines, 2, at(lines, "ses_b", 2).line.replace("select 2", "select 9")),
    /lines up to 3 are not those that line 4 follows/,
  ],
  [
    "a record of the last writing changed",
    (lines) => put(lines, 5, at(lines, "ses_b", 5).line.replace("select 5", "select 9")),
    /lines up to 5 are not those of its head/,
  ],
  ["a record taken out", (lines) => without(lines, 2), /line 2 is missing/],
  ["the first record taken out", (lines) => without(lines, 1), /line 1 is missing/],
  ["the first record of the last writing taken out", (lines) => without(lines, 4), /lines 4 to 5 are missing/],
  ["the last record taken out", (lines) => without(lines, 5), /lines 5 to 5 are missing/],
  ["a writing taken out", (lines) => without(lines, 1, 2, 3), /line 1 is missing/],
  ["all of it taken out", (lines) => without(lines, 1, 2, 3, 4, 5), /lines 1 to 5 are missing/],
  [
    "a writing put in twice",
    (lines) => [...lines, at(lines, "ses_b", 4), at(lines, "ses_b", 5)],
    /line 4 is there twice/,
  ],
  [
    "two records' places changed, with their numbers",
    (lines) => {
      const [second, third] = [at(lines, "ses_b", 2).line, at(lines, "ses_b", 3).line];
      return put(put(lines, 2, third.replace('"seq":3', '"seq":2')), 3, second.replace('"seq":2', '"seq":3'));
    },
    /lines up to 3 are not those that line 4 follows/,
  ],
  [
    "a record added at the end",
    (lines) =>
      lines.flatMap((one) =>
        is(one, "ses_b", 5) ? [one, { ...one, line: one.line.replace('"seq":5', '"seq":6') }] : [one],
      ),
    /not those of its head|lines up to/,
  ],
  [
    "a record put in between two writings",
    (lines) =>
      lines.flatMap((one) =>
        is(one, "ses_b", 3) ? [one, { ...one, line: one.line.replace('"seq":3', '"seq":4') }] : [one],
      ),
    /line 4 is there twice|lines up to/,
  ],
  [
    "another session's record put in its place",
    (lines) => put(lines, 2, at(lines, "ses_a", 2).line.replace("select", "SELECT")),
    /lines up to 3 are not those that line 4 follows/,
  ],
  [
    "another session's first record put in its place",
    (lines) => put(lines, 1, at(lines, "ses_a", 1).line.replace("ses_a", "ses_b").replace("select", "SELECT")),
    /lines up to 3 are not those that line 4 follows/,
  ],
  [
    "a writing that is given another writing's place",
    (lines) => put(lines, 4, at(lines, "ses_b", 4).line.replace(/"chain":"[0-9a-f]*"/, '"chain":""')),
    /lines up to|first lines/,
  ],
  [
    "two writings made one",
    (lines) => put(lines, 4, at(lines, "ses_b", 4).line.replace(/"session":.*"seq"/, '"seq"')),
    /not those of its head|are missing/,
  ],
])("S-43 finds %s", async (_what, change, problem) => {
  const { all, file } = await writeAudit(world);
  edit(file, change);
  const found = await world.run(all);
  expect(found.status).toBe(1);
  expect(found.stdout).toMatch(new RegExp(`ses_b .*(?:${problem.source})`));
  // nobody else's records are doubted for it
  expect(found.stdout.match(/whole, signed$/gm)).toHaveLength(2);
});

it("S-43 finds a record put in twice: it is nobody's", async () => {
  const { all, file } = await writeAudit(world);
  edit(file, (lines) => lines.flatMap((one) => (is(one, "ses_b", 2) ? [one, one] : [one])));
  const found = await world.run(all);
  expect(found.status).toBe(1);
  expect(found.stderr).toMatch(/\.jsonl:6 is no line of the audit/);
});

it("S-43 finds records that were moved to another session, at both", async () => {
  const { all, file } = await writeAudit(world);
  // the end of ses_b's last writing behind that of ses_a's, whose next number it is given
  edit(file, (lines) => {
    const { line } = at(lines, "ses_b", 5);
    const moved = { session: "ses_a", line: line.replace('"seq":5', '"seq":6') };
    return without(lines, 5).flatMap((one) => (is(one, "ses_a", 5) ? [one, moved] : [one]));
  });
  const found = await world.run(all);
  expect(found.status).toBe(1);
  expect(found.stdout).toMatch(/ses_a .*not those of its head/);
  expect(found.stdout).toMatch(/ses_b .*lines 5 to 5 are missing/);
  expect(found.stdout.match(/whole, signed$/gm)).toHaveLength(1);
});

it("S-43 takes writings in any order and any files for whole, and for nobody's what is apart from its first record", async () => {
  const { all, folder, file } = await writeAudit(world);
  let apart: readonly Told[] = [];
  edit(file, (lines) => {
    apart = lines.filter(({ session }) => session === "ses_b");
    return lines.filter(({ session }) => session !== "ses_b");
  });
  const runs = [apart.slice(3), apart.slice(0, 3)];
  const text = (lines: readonly Told[]): string => lines.map(({ line }) => `${line}\n`).join("");
  writeFileSync(join(folder, "a.jsonl"), text(runs.flat()));
  expect(await world.run(all)).toMatchObject({ status: 0, stderr: "" });
  writeFileSync(join(folder, "a.jsonl"), text(apart.slice(0, 4)));
  writeFileSync(join(folder, "b.jsonl"), text(apart.slice(4)));
  const found = await world.run(all);
  expect(found.status).toBe(1);
  expect(found.stderr).toContain("b.jsonl:1 is no line of the audit");
  expect(found.stdout).toMatch(/ses_b .*lines 5 to 5 are missing/);
});

it("S-43 reads records of which each says its session, as they were written before, and what follows them", async () => {
  const { all, file } = await writeAudit(world);
  const every = (lines: Told[], change: (line: string) => string = (line) => line): readonly Told[] => {
    let first = "";
    let head = "";
    let run: string[] = [];
    const made: Told[] = [];
    for (const told of lines.filter(({ session }) => session === "ses_b")) {
      if (told.line.includes('"session"') && run.length > 0) {
        head = createHash("sha256")
          .update(run.map((line) => `${line}\n`).join(""))
          .digest("hex");
        run = [];
      }
      first = `{"session":"ses_b","chain":"${head}","seq"`;
      // the last writing is as it is written now
      const line =
        head === ""
          ? told.line.replace(/^\{.*"seq"/, first)
          : told.line.replace(/"chain":"[^"]*"/, `"chain":"${head}"`);
      run.push(line);
      made.push({ ...told, line: change(line) });
    }
    return [...lines.filter(({ session }) => session !== "ses_b"), ...made];
  };
  const text = readFileSync(file);
  edit(file, (lines) => every(lines));
  const alone = [...all.slice(0, 3), "--session", "ses_b"];
  expect((await world.run(alone)).stdout).toMatch(/ses_b .*whole as far as it goes$/m);
  writeFileSync(file, text);
  edit(file, (lines) => every(lines, (line) => line.replace("select 2", "select 9")));
  expect((await world.run(alone)).stdout).toMatch(/ses_b .*lines up to 3 are not those that line 4 follows/);
});
