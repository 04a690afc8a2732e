// The spool and the folder sink: the contract, and what a folder owes besides.
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuditSink } from "@sallyport/core/ports";
import { type Lines, openSpool } from "@sallyport/proxy/audit";
import { fileName, openFolderSink } from "@sallyport/proxy/folder";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { auditSinkContract, chainOf, makeStatement } from "../contract/audit-sink.ts";
import { openMemorySink } from "./memory-sink.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sallyport-audit-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const linesIn = async (folder: string): Promise<readonly string[]> => {
  const files = (await readdir(folder)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  return texts.join("").split("\n").slice(0, -1);
};

let count = 0;
const openFolder = async (now = () => 0, bytes = 1_000_000) => {
  count += 1;
  const folder = join(root, String(count));
  const sink = await openFolderSink({ folder, proxy: "prx_1", clock: { now }, bytes });
  return { sink, folder, lines: () => linesIn(folder) };
};

auditSinkContract("the folder sink", () => openFolder());
auditSinkContract("the sink in memory", async () => {
  const sink = openMemorySink();
  return { sink, lines: async () => sink.lines.map((line) => line.slice(0, -1)) };
});

it("begins a file each hour, which only its owner may read", async () => {
  let now = Date.UTC(2026, 10, 21, 10, 59);
  const { sink, folder, lines } = await openFolder(() => now);
  sink.append("a", 1, makeStatement());
  await sink.settled();
  now += 120_000;
  sink.append("a", 2, makeStatement());
  await sink.settled();
  // a clock set back goes on in the earlier file and overwrites nothing
  now -= 120_000;
  sink.append("a", 3, makeStatement());
  await sink.close();
  expect((await readdir(folder)).sort()).toEqual(["prx_1-2026-11-21T10.jsonl", "prx_1-2026-11-21T11.jsonl"]);
  for (const file of await readdir(folder)) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
  expect((await stat(folder)).mode & 0o077).toBe(0);
  expect(await lines()).toHaveLength(3);
});

it("writes by itself within the spool's time, without anybody asking", async () => {
  const written: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const lines: Lines = {
    write: async (runs) => {
      written.push(Buffer.concat(runs).toString());
      resolve();
    },
    sync: async () => {},
    close: async () => {},
  };
  const sink = openSpool(lines, { bytes: 10_000 });
  sink.append("a", 1, makeStatement());
  await promise;
  expect(written).toHaveLength(1);
  await sink.close();
});

/** Lines that fail while told to, and keep what they were given in between. */
const openBadDisk = () => {
  const state = { bad: false, kept: "", syncs: 0 };
  const lines: Lines = {
    write: async (runs) => {
      if (state.bad) throw new Error("no space left");
      state.kept += Buffer.concat(runs).toString();
    },
    sync: async () => {
      if (state.bad) throw new Error("no space left");
      state.syncs += 1;
    },
    close: async () => {},
  };
  return { state, lines };
};

const fillUp = (sink: AuditSink): number => {
  for (let seq = 2; seq < 1_000; seq += 1)
    if (sink.append("a", seq, makeStatement({ text: seq })) === "full") return seq;
  return Number.NaN;
};

it("S-42 refuses rather than drops when the disk is full, and loses nothing once it is not", async () => {
  const { state, lines } = openBadDisk();
  const sink = openSpool(lines, { bytes: 10_000 });
  sink.append("a", 1, makeStatement());
  state.bad = true;
  await expect(sink.settled()).rejects.toMatchObject({ code: "audit_full" });
  expect(sink.fill()).toBeGreaterThanOrEqual(0.8);
  const refused = fillUp(sink);
  expect(refused).toBeGreaterThan(10);
  expect(sink.fill()).toBeLessThanOrEqual(1);
  state.bad = false;
  await sink.settled();
  expect(sink.fill()).toBe(0);
  const written = state.kept.split("\n").slice(0, -1);
  const { broken, ...end } = chainOf(written, "a");
  expect(broken).toBeUndefined();
  expect(end).toMatchObject({ seq: refused - 1, head: sink.seal("a")?.head });
  await sink.close();
});

it("S-42 is full no longer than its disk fails, though nobody has anything to say", async () => {
  const { state, lines } = openBadDisk();
  const write = async (): Promise<void> => {};
  const sink = openSpool({ ...lines, write }, { bytes: 10_000 });
  sink.append("a", 1, makeStatement());
  state.bad = true;
  // written, and not on the disk: nothing is left that would be tried again
  await expect(sink.settled()).rejects.toMatchObject({ code: "audit_full" });
  expect(sink.fill()).toBeGreaterThanOrEqual(0.8);
  state.bad = false;
  await vi.waitFor(() => expect(sink.fill()).toBe(0), 5_000);
  await sink.close();
});

it("shares one sync among all who wait", async () => {
  const { state, lines } = openBadDisk();
  const sink = openSpool(lines, { bytes: 1_000_000 });
  await Promise.all(
    Array.from({ length: 50 }, (_, at) => {
      sink.append("a", at + 1, makeStatement());
      return sink.settled();
    }),
  );
  expect(state.syncs).toBeLessThanOrEqual(2);
  const { seq, broken } = chainOf(state.kept.split("\n").slice(0, -1), "a");
  expect([seq, broken]).toEqual([50, undefined]);
  await sink.close();
});

it("keeps a record's place when it can't be put into words", async () => {
  const { state, lines } = openBadDisk();
  const sink = openSpool(lines, { bytes: 1_000_000 });
  sink.append("a", 1, makeStatement({ big: 1n }));
  sink.append("a", 2, {
    size: 1,
    say: (line) => {
      line.members({ half: "said" });
      throw new Error("no words");
    },
  });
  await sink.settled();
  expect(
    state.kept
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line)),
  ).toMatchObject([
    { seq: 1, error: "this record could not be put into words" },
    { seq: 2, error: "this record could not be put into words" },
  ]);
  await sink.close();
});

it("S-42 a folder that can't be written is said, and no record is lost", async () => {
  const { sink, folder, lines } = await openFolder();
  // something else is where the file should be
  const inTheWay = join(folder, fileName("prx_1", 0));
  await mkdir(inTheWay);
  sink.append("a", 1, makeStatement());
  await expect(sink.settled()).rejects.toMatchObject({ code: "audit_full" });
  expect(sink.fill()).toBeGreaterThanOrEqual(0.8);
  await rmdir(inTheWay);
  await sink.settled();
  expect(await lines()).toHaveLength(1);
  await sink.close();
});
