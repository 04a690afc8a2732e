// A table that throttles: what is refused and why, what lives on, and that all is well again.
import type { Client } from "@sallyport/client/client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { doorOf, enter, eventually, refused, within } from "./attack.ts";
import { openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
let strict: Client;
let best: Client;
beforeAll(async () => {
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
