// The audit against real statements: what the database did is in the records, whoever is down or killed meanwhile, and what the
// grades promise is what happens. Checked as an auditor would: by `sally audit verify` on fetched segments, items and key.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Client } from "@sallyport/client/client";
import { auditBucket } from "@sallyport/local/deployment";
import type { ProxyTask } from "@sallyport/local/fleet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { chainOf, recordsOf } from "../contract/audit-sink.ts";
import { doorOf, enter, eventually, type Session, within } from "./attack.ts";
import { openAuditor } from "./auditor.ts";
import { say } from "./clients/raw.ts";
import { openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
let spooled: Client;
let durable: Client;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-audit-"));
  world = await openWorld();
  table = openOwnTable(world.laptop);
  await world.put(roleOf("spooled", { bearer_logins: 100 }));
  await world.put(roleOf("durable", { audit: "durable", bearer_logins: 100 }));
  spooled = await world.person("spooled", ["spooled"]);
  durable = await world.person("durable", ["durable"]);
  await world.servers[0]?.sql("orders", "create table done (n int, who text); grant all on done to writer");
});
afterAll(async () => {
  world?.laptop.aws.fault.clear();
  table?.close();
  await world?.close();
  await rm(folder, { recursive: true, force: true });
});

const begin = async (person: Client, task?: ProxyTask): Promise<{ session: Session; token: string }> => {
  const answer = await world.bearer(person, { user: "writer" });
  return { session: await enter(doorOf(world.laptop, answer, task?.ports.postgres)), token: answer.id };
};
const onlyItem = async (token: string) => {
  const [item] = await table.sessions(token);
  return item as NonNullable<typeof item>;
};
/** What the database did, by its own account. */
const done = async (who: string): Promise<readonly number[]> => {
  const { session } = await begin(spooled);
  const rows = await session.query(`select n from done where who = '${who}' order by n`);
  session.close();
  return rows.map(Number);
};
const recorded = (lines: readonly string[], session: string, who: string): readonly number[] =>
  recordsOf(lines)
    .filter((line) => line.session === session && line["type"] === "query")
    .flatMap(({ text }) => new RegExp(`values \\((\\d+), '${who}'\\)`).exec(String(text))?.[1] ?? [])
    .map(Number);
const insert = (n: number, who: string): string => `insert into done values (${n}, '${who}')`;
const inBucket = (): readonly string[] =>
  world.laptop.s3.objects(auditBucket).flatMap(({ body }) => body.toString().split("\n").slice(0, -1));

it("S-42 a durable statement reaches the database only when its record is in the bucket", async () => {
  const { fault } = world.laptop.aws;
  const { session, token } = await begin(durable);
  const held = fault.hold({ service: "s3" });
  const answer = session.query(insert(1, "held"));
  await within(10_000, "the put", held.arrived);
  expect(await done("held").catch(() => "not yet")).toEqual([]);
  held.release();
  await answer;
  const { sk } = await onlyItem(token);
  expect(recorded(inBucket(), sk, "held")).toEqual([1]);
  session.close();
}, 40_000);

it("S-42 a durable statement that can't be kept never runs, and its session ends with the reason; a spooled one goes on", async () => {
  const { fault } = world.laptop.aws;
  const [hers, his] = [await begin(durable), await begin(spooled)];
  fault.fail({ service: "s3", code: "InternalError", status: 500, times: 1_000 });
  try {
    await his.session.query(insert(1, "spooled"));
    hers.session.send(say("Q", insert(1, "refused")));
    expect(await within(20_000, "the end", hers.session.ending())).toMatchObject({
      code: "53000",
      message: expect.stringContaining("can't be recorded"),
    });
    await his.session.query(insert(2, "spooled"));
  } finally {
    fault.clear();
  }
  his.session.close();
  expect(await done("refused")).toEqual([]);
  expect(await done("spooled")).toEqual([1, 2]);
  const { sk } = await onlyItem(his.token);
  await eventually("what waited", () => recorded(inBucket(), sk, "spooled").length === 2, 20_000);
  expect(await onlyItem(hers.token)).toMatchObject({ state: "ended", reason: expect.stringContaining("audit_full") });
}, 60_000);

it("S-42 a task killed in the middle of its work: durable, all that ran is in the bucket; spooled, it is on its volume but for 100 ms", async () => {
  const doomed = await world.laptop.startProxy();
  const hers = await begin(durable, doomed);
  const his = await begin(spooled, doomed);
  const work = async ({ session }: { session: Session }, who: string): Promise<void> => {
    for (let n = 1; ; n++) await session.query(insert(n, who));
  };
  const ends = [work(hers, "durable"), work(his, "quick")].map((one) => one.catch(() => {}));
  await eventually(
    "work",
    async () => (await done("durable")).length > 5 && (await done("quick")).length > 200,
    20_000,
  );
  await world.laptop.stopProxy(doomed, "SIGKILL");
  await Promise.all(ends);

  const [ranDurable, ranQuick] = [await done("durable"), await done("quick")];
  const [itemOfHers, itemOfHis] = [await onlyItem(hers.token), await onlyItem(his.token)];
  const kept = recorded(inBucket(), itemOfHers.sk, "durable");
  // what ran was kept first; at most the one that was under way was kept and did not run
  expect(kept.slice(0, ranDurable.length)).toEqual(ranDurable);
  expect(kept.length - ranDurable.length).toBeLessThanOrEqual(1);

  const trail = await world.laptop.trail(doomed.id);
  const told = recorded(trail, itemOfHis.sk, "quick");
  // without a gap as far as it goes; what is missing is the end, no more than one writing and its delay may hold
  expect(told).toEqual(told.map((_, at) => at + 1));
  expect(chainOf(trail, itemOfHis.sk).broken).toBeUndefined();
  const ats = recordsOf(trail).flatMap(({ session, at }) => (session === itemOfHis.sk ? at : []));
  const each = ((ats.at(-1) ?? 0) - (ats[0] ?? 0)) / Math.max(1, told.length);
  expect(ranQuick.length - told.length).toBeLessThanOrEqual(Math.ceil(1_000 / Math.max(each, 0.2)));
}, 60_000);

it("S-42 COPY in and out is recorded with what passed, and a Bind's bytes are those the database got", async () => {
  const { session, token } = await begin(spooled);
  const rows = Array.from({ length: 2_000 }, (_, n) => `${n}\tcopied\n`).join("");
  session.send(say("Q", "copy done from stdin"));
  expect((await session.next())?.type).toBe("G");
  session.send(say("d", Buffer.from(rows)), say("c"));
  expect(await session.query("select count(*) from done where who = 'copied'")).toEqual([]);
  for (let message = await session.next(); message && message.type !== "Z"; message = await session.next());
  session.close();
  const { sk } = await onlyItem(token);
  await eventually("its end", async () => (await onlyItem(token))["state"] === "ended", 10_000);
  const own = recordsOf(await world.laptop.trail()).filter(({ session }) => session === sk);
  expect(own).toContainEqual(expect.objectContaining({ type: "complete", tag: "COPY 2000", copied: rows.length }));
  expect((await done("copied")).length).toBe(2_000);
}, 30_000);

it("S-43 an auditor finds every ended session whole and signed, and one record changed in a fetched segment", async () => {
  for (let at = 0; at < 3; at++) {
    const { session, token } = await begin(spooled);
    await session.query(insert(at, "audited"));
    session.close();
    await eventually("its end", async () => (await onlyItem(token))["state"] === "ended", 10_000);
  }
  await eventually("the last segment", () => inBucket().some((line) => line.includes("(2, 'audited')")), 20_000);
  const auditor = await openAuditor(world.laptop, folder);
  const [proxy] = world.proxies;
  const { items } = await table.store.list(`session#${proxy?.id ?? ""}`);
  const ended = items.filter((item) => item["state"] === "ended" && !String(item["reason"]).startsWith("not begun"));
  const last = ended.map((item) => item.sk);
  await eventually(
    "all of them",
    () => {
      const ends = recordsOf(inBucket()).filter((line) => line["event"] === "session.end");
      return last.every((id) => ends.some(({ session }) => session === id));
    },
    20_000,
  );
  await auditor.fetch(ended);
  const good = await auditor.verify();
  const verdicts = good.output.split("\n");
  for (const id of last) expect(verdicts.find((line) => line.startsWith(id))).toMatch(/whole, signed$/);

  const target = world.laptop.s3.objects(auditBucket).find(({ body }) => body.includes("(2, 'audited')"));
  if (!target) throw new Error("no segment holds it");
  await writeFile(
    join(auditor.segments, basename(target.key)),
    target.body.toString().replace("(2, 'audited')", "(9, 'audited')"),
  );
  const bad = await auditor.verify();
  expect(bad.status).toBe(1);
  expect(bad.output).toMatch(/ses_\S+ .*lines .*are not those/);
  expect(bad.output).toContain("is not what its name says");
}, 60_000);
