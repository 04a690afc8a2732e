// The sink on S3: the contract, against the laptop account's S3 and the SDK's own client; what it does while S3 is away, when the
// volume is full, when a process is killed; and what it never does, which is to lose something without saying so.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSegments, segmentClient } from "@sallyport/aws/sink";
import { partSize } from "@sallyport/core/audit";
import { openAccount } from "@sallyport/local/account";
import { openEndpoint } from "@sallyport/local/endpoint";
import { openS3 } from "@sallyport/local/services/s3";
import { openSpool } from "@sallyport/proxy/audit";
import type { Log } from "@sallyport/proxy/log";
import { openVolume, openVolumeSink, type VolumeOptions } from "@sallyport/proxy/volume";
import { frames } from "@sallyport/wire/postgres/frame";
import { fromClient } from "@sallyport/wire/postgres/message";
import { observeClient } from "@sallyport/wire/postgres/statement";
import { afterEach, expect, it, vi } from "vitest";
import { auditSinkContract, chainOf, makeStatement } from "../contract/audit-sink.ts";
import { int32, message } from "../wire/door.ts";

const bucket = "audit";
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** An account with the bucket, and tasks with volumes that ship into it. */
const openAws = async () => {
  const account = openAccount();
  const s3 = openS3();
  s3.addBucket({
    name: bucket,
    accountId: account.id,
    retainFor: 86_400_000,
    denied: [
      {
        actions: ["s3:PutObject"],
        resources: ["*"],
        conditions: { Null: { "s3:if-none-match": "true" } },
      },
    ],
  });
  const resources = [`arn:aws:s3:::${bucket}/segments/\${aws:userid}/*`];
  account.addRole({ name: "proxy", statements: [{ actions: ["s3:PutObject"], resources }] });
  const endpoint = await openEndpoint({ accounts: [account], services: [s3.api] });
  closing.push(() => endpoint.close());
  const root = await mkdtemp(join(tmpdir(), "sallyport-volume-"));
  closing.push(() => rm(root, { recursive: true, force: true }));
  const logged: string[] = [];
  const say = (text: string) => void logged.push(text);
  const log: Log = { info: say, warn: say, error: say };

  const openTask = async (name: string, over: Partial<VolumeOptions> = {}, bytes = 4_000_000) => {
    const { credentials, identity } = account.session("proxy", { sessionName: name });
    const keys = { keys: async () => credentials, region: account.region, endpoint: endpoint.url };
    const client = segmentClient(keys);
    closing.push(async () => client.destroy());
    const folder = over.folder ?? join(root, name);
    const sink = await openVolumeSink({
      ...{ folder, proxy: `prx_${name}`, clock: { now: Date.now }, log, bytes, volumeBytes: 16_000_000 },
      segments: openSegments({ bucket, userId: identity.userId, client }),
      retryMs: [5, 40],
      closeMs: 5_000,
      ...over,
    });
    closing.push(() => sink.close());
    return { sink, folder, userId: identity.userId };
  };
  const lines = async (): Promise<readonly string[]> =>
    s3
      .objects(bucket)
      .toSorted((a, b) => (a.key < b.key ? -1 : 1))
      .flatMap(({ body }) => body.toString().split("\n").slice(0, -1));
  const down = (times = 1_000) => endpoint.fault.fail({ service: "s3", code: "InternalError", status: 500, times });
  return { s3, endpoint, openTask, lines, logged, down, root };
};

auditSinkContract("the sink on S3", async () => {
  const aws = await openAws();
  const { sink } = await aws.openTask("one");
  return { sink, lines: aws.lines };
});

it("puts many sessions into one segment, under the task's own name and by the hash of what is in it", async () => {
  const { s3, openTask } = await openAws();
  const { sink, folder, userId } = await openTask("one");
  for (let at = 0; at < 200; at++) sink.append(`ses_${at % 40}`, at, makeStatement({ text: at }));
  // those who wait share one put
  await Promise.all(Array.from({ length: 20 }, () => sink.settled()));
  const objects = s3.objects(bucket);
  expect(objects.length).toBeLessThanOrEqual(2);
  for (const { key, body } of objects) {
    const digest = createHash("sha256").update(body).digest("hex");
    expect(key).toMatch(/^segments\/[^/]+\/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z_prx_one_\d{6}_[0-9a-f]{64}\.jsonl$/);
    expect(key).toContain(`segments/${userId}/`);
    expect(key).toContain(digest);
  }
  expect(await readdir(folder)).toEqual([]);
});

it("ships by itself when its time has come, and when a segment is big enough", async () => {
  const { s3, openTask, lines } = await openAws();
  const timed = await openTask("timed", { shipEveryMs: 20 });
  timed.sink.append("a", 1, makeStatement());
  await vi.waitFor(() => expect(s3.objects(bucket)).toHaveLength(1), 5_000);
  const sized = await openTask("sized", { shipEveryMs: 60_000, segmentBytes: 10_000 });
  for (let at = 0; at < 40; at++)
    sized.sink.append("b", at, { size: 1_000, say: (line) => line.members({ text: "x".repeat(1_000) }) });
  await sized.sink.settled("spooled");
  await vi.waitFor(async () => expect(await lines()).toHaveLength(41), 5_000);
});

it("S-42 what is spooled is on the volume, whatever S3 does, and a durable one waits for S3", async () => {
  const { openTask, endpoint, s3 } = await openAws();
  const { sink, folder } = await openTask("one", { shipEveryMs: 60_000 });
  const held = endpoint.fault.hold({ service: "s3" });
  sink.append("a", 1, makeStatement({ text: "first" }));
  let durable = false;
  const settled = sink.settled("durable").then(() => {
    durable = true;
  });
  await held.arrived;
  sink.append("a", 2, makeStatement({ text: "second" }));
  await sink.settled("spooled");
  const spooled = await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file), "utf8")));
  expect(spooled.join("")).toContain("second");
  expect([durable, s3.objects(bucket).length]).toEqual([false, 0]);
  held.release();
  await settled;
  expect(s3.objects(bucket)).toHaveLength(1);
});

it("S-42 S3 is away for minutes: sessions go on, nothing is lost, and what waited is shipped in order", async () => {
  const { openTask, down, endpoint, lines, logged } = await openAws();
  // minutes, by a clock that only these pauses move
  let passed = 0;
  const wait = async (ms: number): Promise<void> => {
    passed += ms;
    if (passed > 240_000) endpoint.fault.clear();
    await new Promise((resolve) => setImmediate(resolve));
  };
  down(100_000);
  const { sink, folder } = await openTask("one", { shipEveryMs: 10, retryMs: [250, 10_000], wait });
  await expect(
    (async () => {
      sink.append("a", 0, makeStatement({ text: 0 }));
      await sink.settled("durable");
    })(),
  ).rejects.toMatchObject({ code: "audit_full" });
  for (let at = 1; at < 300; at++) {
    expect(sink.append("a", at, makeStatement({ text: at }))).toBe("accepted");
    if (at % 30 === 0) await sink.settled("spooled");
  }
  await vi.waitFor(async () => expect(await readdir(folder)).toEqual([]), 20_000);
  expect(passed).toBeGreaterThan(240_000);
  const { seq, head, broken } = chainOf(await lines(), "a");
  expect(broken).toBeUndefined();
  expect({ seq, head }).toEqual(sink.head("a"));
  expect(seq).toBe(300);
  // said once when it began, and once when it was over
  expect(logged).toEqual(["the audit can't be shipped", "the audit is shipped again"]);
}, 30_000);

it("S-42 S3 asks to slow down, loses an answer, or refuses a while: every line is there once", async () => {
  const { openTask, endpoint, lines, s3 } = await openAws();
  const { sink } = await openTask("one");
  endpoint.fault.drop({ service: "s3", times: 4 });
  sink.append("a", 1, makeStatement({ text: "answer lost" }));
  // put, but the answer was lost: "there already" is then the same bytes
  await sink.settled().catch(() => {});
  await vi.waitFor(() => sink.settled(), 10_000);
  endpoint.fault.throttle({ service: "s3", rate: 20, burst: 1 });
  for (let at = 2; at <= 5; at++) {
    sink.append("a", at, makeStatement({ text: "slow" }));
    await sink.settled().catch(() => {});
  }
  endpoint.fault.clear();
  await vi.waitFor(() => sink.settled(), 10_000);
  expect(chainOf(await lines(), "a")).toMatchObject({ seq: 5 });
  expect(await lines()).toHaveLength(5);
  expect(new Set(s3.objects(bucket).map(({ key }) => key)).size).toBe(s3.objects(bucket).length);
}, 30_000);

it("S-42 a volume that fills says so at four fifths, takes nothing beyond its end, and drains when S3 is back", async () => {
  const { openTask, down, endpoint, lines, folderBytes } = await openFull();
  down(100_000);
  const { sink, folder } = await openTask("one", { volumeBytes: 400_000, segmentBytes: 50_000 }, 200_000);
  const text = "x".repeat(2_000);
  let [taken, eighty] = [0, 0];
  for (; taken < 1_000; taken++) {
    if (sink.append("a", taken, { size: text.length, say: (line) => line.members({ text }) }) === "full") break;
    if (taken % 10 === 0) await sink.settled("spooled");
    if (eighty === 0 && sink.fill() >= 0.8) eighty = taken;
  }
  expect(eighty).toBeGreaterThan(100);
  expect(taken).toBeGreaterThan(eighty);
  expect(taken).toBeLessThan(200);
  expect(await folderBytes(folder)).toBeLessThanOrEqual(400_000);
  endpoint.fault.clear();
  await vi.waitFor(() => sink.settled(), 10_000);
  await vi.waitFor(() => expect(sink.fill()).toBe(0), 10_000);
  expect(chainOf(await lines(), "a")).toMatchObject({ seq: taken, head: sink.head("a")?.head });
  expect(sink.append("a", 1, makeStatement())).toBe("accepted");
}, 30_000);

it("S-42 what a killed process left on its volume is shipped by the next, but for the line it was killed in", async () => {
  const { openTask, lines, s3, root } = await openAws();
  const first = await openTask("first", { shipEveryMs: 60_000 });
  for (let at = 1; at <= 10; at++) first.sink.append("a", at, makeStatement({ text: at }));
  await first.sink.settled("spooled");
  // the disk as a process that is killed in the middle of a write leaves it
  const [file = ""] = await readdir(first.folder);
  const left = join(root, "left");
  await mkdir(left);
  await writeFile(join(left, file), `${await readFile(join(first.folder, file), "utf8")}{"session":"a","chain":"`);
  await writeFile(join(left, `x${file}`), '{"session":"b"');
  const second = await openTask("second", { folder: left });
  await vi.waitFor(() => expect(s3.objects(bucket)).toHaveLength(1), 5_000);
  expect(chainOf(await lines(), "a")).toMatchObject({ seq: 10, head: first.sink.head("a")?.head });
  expect(s3.objects(bucket)[0]?.key).toContain(second.userId);
  expect(await readdir(left)).toEqual([]);
});

/** A volume whose segments end up in a list, and writes of it that fail half way: the system takes a thousand runs in a call. */
const openLines = async (over: Partial<VolumeOptions> = {}) => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-volume-"));
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const kept: string[] = [];
  const logged: string[] = [];
  const say = (text: string) => void logged.push(text);
  const lines = await openVolume({
    ...{ folder, proxy: "prx_1", clock: { now: Date.now }, log: { info: say, warn: say, error: say } },
    ...{ volumeBytes: 1_000_000, shipEveryMs: 20, retryMs: [1, 5] as const, closeMs: 50 },
    segments: { put: async (_name, bytes) => void kept.push(Buffer.from(bytes).toString()) },
    ...over,
  });
  closing.push(() => lines.close());
  const runs = (text: string, count = 1) => Array.from({ length: count }, () => Buffer.from(text));
  const broken = (text: string) => [...runs(text, 1_000), "no bytes" as unknown as Uint8Array];
  return { lines, kept, logged, folder, runs, broken };
};

it("S-42 a segment holds nothing of a write that failed half way and is done again in the next", async () => {
  const { lines, kept, runs, broken } = await openLines({ shipEveryMs: 60_000 });
  await lines.write(runs("a\n"));
  await expect(lines.write(broken("b\n"))).rejects.toThrow();
  await lines.sync();
  expect(kept).toEqual(["a\n"]);
  await lines.write(runs("b\n", 1_000));
  await lines.sync();
  expect(kept.join("")).toBe(`a\n${"b\n".repeat(1_000)}`);
});

it("S-42 ships in its time although the first write of a segment failed", async () => {
  const { lines, kept, runs, broken } = await openLines();
  await expect(lines.write(broken("b\n"))).rejects.toThrow();
  await new Promise((resolve) => setTimeout(resolve, 60));
  await lines.write(runs("b\n"));
  await vi.waitFor(() => expect(kept).toEqual(["b\n"]), 5_000);
});

it("S-42 a segment that is gone or can't be read is told of, and holds up no other", async () => {
  let down = true;
  const kept: string[] = [];
  const put = async (_name: string, bytes: Uint8Array): Promise<void> => {
    if (down) throw new Error("down");
    kept.push(Buffer.from(bytes).toString());
  };
  const { lines, logged, folder, runs } = await openLines({ shipEveryMs: 60_000, segments: { put } });
  for (const text of ["a\n", "b\n", "c\n"]) {
    await lines.write(runs(text));
    await expect(lines.sync()).rejects.toMatchObject({ code: "audit_full" });
  }
  const [gone = "", unread = ""] = (await readdir(folder)).sort();
  await rm(join(folder, gone));
  await rm(join(folder, unread));
  // a link to itself: it is there, and nobody can read it
  await symlink(unread, join(folder, unread));
  down = false;
  await vi.waitFor(() => expect(kept).toEqual(["c\n"]), 5_000);
  expect(logged).toContain("audit is gone from the volume");
  // what is there but can't be read is waited for
  await expect(lines.sync()).rejects.toMatchObject({ code: "audit_full" });
  await writeFile(join(folder, "mended"), "b\n");
  await rename(join(folder, "mended"), join(folder, unread));
  await vi.waitFor(() => expect(kept).toEqual(["c\n", "b\n"]), 5_000);
  await lines.sync();
});

it("S-42 closing waits for no put longer than it may, and tells those who wait for it", async () => {
  const never = new Promise<void>(() => {});
  const { lines } = await openLines({ segments: { put: () => never } });
  const sink = openSpool(lines, { bytes: 100_000 });
  sink.append("a", 1, makeStatement());
  const durable = expect(sink.settled("durable")).rejects.toMatchObject({ code: "audit_full" });
  await sink.close();
  await durable;
});

it("S-42 what piled up while the disk stood still goes into segments of their usual size", async () => {
  const { lines, kept } = await openLines({ segmentBytes: 20_000, shipEveryMs: 60_000 });
  let stands = true;
  const write: typeof lines.write = async (runs) => {
    if (stands) throw new Error("the disk stands still");
    await lines.write(runs);
  };
  const sink = openSpool({ ...lines, write }, { bytes: 900_000, batch: 10_000 });
  for (let at = 0; at < 2_000; at++) sink.append(`ses_${at % 50}`, at, makeStatement({ text: "x".repeat(100) }));
  await expect(sink.settled("spooled")).rejects.toMatchObject({ code: "audit_full" });
  stands = false;
  await vi.waitFor(() => sink.settled("spooled"), 5_000);
  await sink.settled("durable");
  expect(Math.max(...kept.map((segment) => segment.length))).toBeLessThan(60_000);
  expect(kept.join("").split("\n")).toHaveLength(2_001);
});

it("S-42 a proxy that goes away ships what it has, and says what it could not", async () => {
  const { openTask, down, lines, logged } = await openAws();
  const one = await openTask("one", { shipEveryMs: 60_000 });
  one.sink.append("a", 1, makeStatement());
  await one.sink.close();
  expect(await lines()).toHaveLength(1);
  down(100_000);
  const two = await openTask("two", { shipEveryMs: 60_000, closeMs: 50 });
  two.sink.append("b", 1, makeStatement());
  await two.sink.close();
  expect(logged).toContain("audit stays on the volume");
  expect(await readdir(two.folder)).toHaveLength(1);
});

it("S-42 statements from 1 byte to 64 MiB are kept whole, in bounded memory", async () => {
  const { openTask, lines } = await openAws();
  const { sink } = await openTask("one", { volumeBytes: 400_000_000 }, 8_000_000);
  let fullest = 0;
  const feed = frames(
    fromClient,
    observeClient((statement) => {
      expect(sink.append("a", 1, statement)).toBe("accepted");
      fullest = Math.max(fullest, sink.fill());
    }),
  );
  const sizes = [1, 1_000, partSize - 1, partSize, partSize + 1, 16_777_215, 67_108_864];
  const noise = randomBytes(3_000_000).toString("base64");
  const texts = sizes.map((size) => noise.repeat(Math.ceil(size / noise.length)).slice(0, size));
  for (const text of texts) {
    const bytes = message("Q", `${text}\0`);
    for (let at = 0; at < bytes.length; ) {
      at += feed.scan(bytes.subarray(at, at + 70_000));
      // as a session that says more than can be written at once is made to
      if (sink.fill() >= 0.5) await sink.settled("spooled");
    }
  }
  await sink.settled();
  expect(fullest).toBeLessThan(0.75);
  const written = await lines();
  expect(chainOf(written, "a")).toMatchObject({ seq: written.length });
  const told: string[] = [];
  for (const line of written) {
    const { text, part = 0 } = JSON.parse(line) as { text: string; part?: number };
    if (part === 0) told.push(text);
    else told[told.length - 1] += text;
  }
  expect(told.map((text) => text.length)).toEqual(sizes);
  const hashes = (all: readonly string[]) => all.map((text) => createHash("sha256").update(text).digest("hex"));
  expect(hashes(told)).toEqual(hashes(texts));
}, 60_000);

it("S-42 binary values of a Bind are kept byte by byte", async () => {
  const { openTask, lines } = await openAws();
  const { sink } = await openTask("one");
  const feed = frames(
    fromClient,
    observeClient((statement) => void sink.append("a", 1, statement)),
  );
  const values = [Buffer.from([0, 1, 0xff, 0x0a]), randomBytes(200), Buffer.alloc(0)];
  const int16 = (value: number): Buffer => int32(value).subarray(2);
  const rest = values.flatMap((value) => [int32(value.length), value]);
  feed.scan(message("B", "\0s1\0", int16(1), int16(1), int16(values.length), ...rest, int16(0)));
  await sink.settled();
  const [line = "{}"] = await lines();
  const said = JSON.parse(line) as { values: { base64: string }[] };
  expect(said.values.map(({ base64 }) => Buffer.from(base64, "base64"))).toEqual(values);
});

const openFull = async () => {
  const aws = await openAws();
  const folderBytes = async (folder: string): Promise<number> => {
    const files = await readdir(folder);
    const sizes = await Promise.all(files.map(async (file) => (await readFile(join(folder, file))).length));
    return sizes.reduce((sum, size) => sum + size, 0);
  };
  return { ...aws, folderBytes };
};
