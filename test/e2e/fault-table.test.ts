// A table that throttles, and clocks that are five minutes off: what is refused and why, what lives on, and that all is well again.
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "@sallyport/client/client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { doorOf, enter, eventually, logIn, refused, within } from "./attack.ts";
import { openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
let strict: Client;
let best: Client;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-skew-"));
  world = await openWorld();
  table = openOwnTable(world.laptop);
  await world.put(roleOf("strict", { lock: "strict", bearer_logins: 100 }));
  await world.put(roleOf("best", { lock: "best_effort", bearer_logins: 100 }));
  strict = await world.person("strict", ["strict"]);
  best = await world.person("best", ["best"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
  await rm(folder, { recursive: true, force: true });
});

it.each(["ProvisionedThroughputExceededException", "ThrottlingException"])(
  "a table that answers %s to everything: nobody new, strict sessions end, best-effort ones go on, and all is well again",
  { timeout: 90_000 },
  async (code) => {
    const [tight, loose] = [await world.bearer(strict), await world.bearer(best)];
    const cut = await enter(doorOf(world.laptop, tight));
    const stays = await enter(doorOf(world.laptop, loose));
    const { fault } = world.laptop.aws;
    fault.fail({ service: "dynamodb", code, status: 400, times: Number.POSITIVE_INFINITY });
    try {
      expect(await within(15_000, "the refusal", refused(doorOf(world.laptop, loose)))).toMatchObject({
        code: "57P03",
        message: expect.stringMatching(/table/),
      });
      expect(await within(20_000, "the cut", cut.ending())).toMatchObject({ code: "57P03" });
      expect(await stays.query("select 1")).toEqual(["1"]);
    } finally {
      fault.clear();
    }
    (await enter(doorOf(world.laptop, loose))).close();
    expect(await stays.query("select 2")).toEqual(["2"]);
    stays.close();
    await eventually("what was owed", async () => (await table.spent(tight.id)).live === 0, 20_000);
  },
);

it("a table that throttles now and then is asked again, and nobody notices", { timeout: 60_000 }, async () => {
  const door = doorOf(world.laptop, await world.bearer(best));
  for (let at = 0; at < 10; at += 1) {
    world.laptop.aws.fault.fail({ service: "dynamodb", code: "ThrottlingException", status: 400, times: 1 });
    (await enter(door)).close();
  }
  world.laptop.aws.fault.clear();
});

/** A proxy whose clock is so far off: its whole process, before anything else of it runs. */
const startSkewed = async (minutes: number) => {
  const file = join(folder, `skew${minutes}.mjs`);
  const off = minutes * 60_000 + Math.sign(minutes) * 5_000;
  writeFileSync(
    file,
    `const real = Date.now; const D = Date; Date.now = () => real() + ${off};
     globalThis.Date = class extends D { constructor(...args) { if (args.length === 0) super(real() + ${off}); else super(...args); } static now() { return real() + ${off}; } };`,
  );
  return world.laptop.startProxy({ NODE_OPTIONS: `--import=file://${file}` });
};

it.each([5, -5])(
  "S-50 a proxy whose clock is %i minutes off still reaches the table, and says what is wrong",
  { timeout: 90_000 },
  async (minutes) => {
    const skewed = await startSkewed(minutes);
    const answer = await world.bearer(best);
    const how = await logIn(doorOf(world.laptop, answer, skewed.ports.postgres));
    if ("code" in how) {
      // RDS takes no token that is not of its time: the reason names the clock or the token, never a password of the client's
      expect(how, JSON.stringify(how)).toMatchObject({
        code: expect.stringMatching(/^(28P01|08001|08006|28000|57P03|42501)$/),
      });
      // a token of its future is any bad token to whoever shows it, and told in the log
      if (how.message === "this token is not valid here") expect(skewed.log()).toContain("issued in the future");
      else expect(`${how.message} ${how.hint}`).toMatch(/clock/);
    } else {
      expect(await how.query("select 1")).toEqual(["1"]);
      how.close();
    }
    // others are not touched, and its sweeping does not end what lives
    const [healthy] = world.proxies;
    const session = await enter(doorOf(world.laptop, await world.bearer(best), healthy?.ports.postgres));
    await world.laptop.runtime.invoke("sweep", {});
    expect(await session.query("select 1")).toEqual(["1"]);
    session.close();
    await world.laptop.stopProxy(skewed);
  },
);
