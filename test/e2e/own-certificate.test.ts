// A certificate of one's own, by setting: certify stays out of it, clients are told its pins and authority, and a renewal of
// the files is picked up.
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openClient } from "@sallyport/client/client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { dialGate, doorOf, enter, eventually } from "./attack.ts";
import { openOwnTable, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
beforeAll(async () => {
  world = await openWorld({ ownCertificate: true, proxyEnv: { SALLYPORT_CERT_SECONDS: "1" } });
  table = openOwnTable(world.laptop);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

it("is what proxies show and clients are told of; certify issues nothing beside it", async () => {
  const { laptop } = world;
  const told = await openClient({ api: laptop.api }).call("trust", {});
  expect(told).toEqual({ ca: laptop.authority.ca, pins: [expect.stringMatching(/^sha256\//)] });
  const ana = await world.person("ana", ["dev"]);
  const answer = await world.bearer(ana);
  expect([answer.gate.ca, answer.gate.pins, answer.direct?.ca]).toEqual([told.ca, told.pins, told.ca]);
  const session = await enter(doorOf(laptop, answer));
  expect(await session.query("select current_user")).toEqual(["reader"]);
  session.close();
  expect(await laptop.runtime.invoke("certify", {})).toMatchObject({ steps: [] });
  expect((await table.all()).filter(({ pk }) => pk.startsWith("trust#"))).toEqual([]);
});

it("renewed in its files, it is shown to those who come after, and nobody inside notices", async () => {
  const { laptop } = world;
  const answer = await world.bearer(await world.person("ben", ["dev"]));
  const session = await enter(doorOf(laptop, answer));
  const shown = async (): Promise<string> => {
    const socket = await dialGate(laptop, laptop.authority.ca);
    const serial = socket.getPeerX509Certificate()?.serialNumber ?? "";
    socket.destroy();
    return serial;
  };
  const before = await shown();
  const next = await laptop.authority.issue(["localhost"]);
  const folder = dirname(laptop.caFile);
  // one after the other, as tools write them: a pair that does not fit is waited out
  await writeFile(join(folder, "proxy.key"), next.key);
  await writeFile(join(folder, "proxy.pem"), next.cert);
  await eventually("the new one is shown", async () => (await shown()) !== before, 20_000);
  expect(await session.query("select 'still here'")).toEqual(["still here"]);
  session.close();
});
