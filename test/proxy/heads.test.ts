// How far records go, as the table is told: signed, every ten minutes and at the end; late when the key or the sink is away, and
// never of a record that has not arrived.
import { createHash, generateKeyPairSync, sign, verify } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import { keys, toItem } from "@sallyport/core/family";
import type { Signer } from "@sallyport/core/ports";
import { rootOf, type Seal, sealMessage } from "@sallyport/core/seal";
import type { Session } from "@sallyport/core/session";
import { sweep } from "@sallyport/core/sweep";
import { openHeads } from "@sallyport/proxy/heads";
import { openNotary } from "@sallyport/proxy/notary";
import { expect, it } from "vitest";
import { makeStatement } from "../contract/audit-sink.ts";
import { openFakeStore } from "../fakes/store.ts";
import { openMemorySink } from "./memory-sink.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };
const minutes = 60_000;

const open = () => {
  let now = 0;
  const state = { signatures: 0, tries: 0, away: false };
  const signer: Signer = {
    key: "alias/audit",
    publicKey: async () => publicKey.export({ format: "der", type: "spki" }),
    sign: async (message) => {
      state.tries += 1;
      if (state.away) throw new Failure("unavailable", "the key is away");
      state.signatures += 1;
      return sign("sha256", message, privateKey);
    },
  };
  const store = openFakeStore();
  const sink = openMemorySink();
  const live = new Set<string>();
  const said: string[] = [];
  const log = { info: () => {}, warn: (text: string) => void said.push(text), error: () => {} };
  const notary = openNotary({ signer, digest });
  const steady = { now: () => now };
  const heads = openHeads({ proxy: "prx_1", store, sink, steady, log, notary, live: () => [...live] });
  const begin = async (id: string, records: number): Promise<void> => {
    live.add(id);
    for (let at = 0; at < records; at++) sink.append(id, at, makeStatement({ at }));
    const session: Session = {
      ...{ id, proxy: "prx_1", user: "ana", database: "orders", protocol: "postgres", dbUser: "app", token: "t" },
      ...{ way: "gate", client: "10.0.0.1:1", state: "live", startedAt: 0 },
    };
    await store.write({ put: toItem(keys.session("prx_1", id), session) });
  };
  const itemOf = async (id: string) => (await store.get(keys.session("prx_1", id))) as unknown as Session;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { state, store, sink, live, heads, said, begin, itemOf, pass };
};
const holds = (session: string, { seq, head, path, signature }: Seal): boolean =>
  verify(
    "sha256",
    sealMessage(rootOf({ session, seq, head }, path, digest)),
    { key: publicKey, dsaEncoding: "der" },
    Buffer.from(signature, "base64"),
  );

it("S-43 a session's end is signed, and a hundred at once by a few signatures", async () => {
  const { heads, state } = open();
  const ends = await Promise.all(
    Array.from({ length: 100 }, (_, at) => heads.signed(`ses_${at}`, { seq: at + 1, head: digest.sha256(String(at)) })),
  );
  expect(state.signatures).toBeLessThanOrEqual(2);
  for (const [at, { sealed }] of ends.entries()) {
    expect(sealed && holds(`ses_${at}`, sealed)).toBe(true);
    expect(sealed && holds(`ses_${at + 1}`, sealed)).toBe(false);
  }
});

it("S-43 every ten minutes the table is told of the live sessions that said something, and only of them", async () => {
  const { heads, begin, itemOf, pass, sink, state } = open();
  await begin("ses_a", 3);
  await begin("ses_b", 5);
  await heads.tick();
  expect((await itemOf("ses_a")).seq).toBeUndefined();
  pass(10 * minutes);
  await heads.tick();
  expect(await itemOf("ses_a")).toMatchObject({ state: "live", seq: 3, head: sink.head("ses_a")?.head });
  expect((await itemOf("ses_b")).sealed).toMatchObject({ seq: 5 });
  expect(state.signatures).toBe(1);
  sink.append("ses_a", 9, makeStatement());
  pass(10 * minutes);
  await heads.tick();
  expect((await itemOf("ses_a")).sealed).toMatchObject({ seq: 4 });
  pass(10 * minutes);
  await heads.tick();
  expect(state.signatures).toBe(2);
});

it("S-42 nothing is told that could not be made durable", async () => {
  const { heads, begin, itemOf, pass, sink, said } = open();
  await begin("ses_a", 3);
  sink.breakDisk();
  pass(10 * minutes);
  await heads.tick();
  expect((await itemOf("ses_a")).seq).toBeUndefined();
  expect(said).toEqual(["how far records go can't be told"]);
});

it("a key that is away holds no end up: it is signed when the key is back", async () => {
  const { heads, begin, itemOf, state, said } = open();
  await begin("ses_a", 3);
  state.away = true;
  expect(await heads.signed("ses_a", { seq: 3, head: "h" })).toEqual({ seq: 3, head: "h" });
  await heads.tick();
  expect((await itemOf("ses_a")).sealed).toBeUndefined();
  expect(said).toEqual(["how far records go can't be signed yet", "how far records go can't be told"]);
  state.away = false;
  await heads.tick();
  const { sealed } = await itemOf("ses_a");
  expect(sealed && holds("ses_a", sealed)).toBe(true);
});

it("thousands that are owed are not all tried at a key that is away, and none is owed to a session that never was", async () => {
  const { heads, begin, itemOf, state, said, pass } = open();
  state.away = true;
  await Promise.all(Array.from({ length: 200 }, (_, at) => heads.signed(`ses_${at}`, { seq: 1, head: "h" })));
  await begin("ses_7", 1);
  await begin("ses_live", 2);
  state.tries = 0;
  await heads.tick();
  expect(state.tries).toBeLessThanOrEqual(2);
  state.away = false;
  pass(10 * minutes);
  await heads.tick();
  expect((await itemOf("ses_7")).sealed).toBeDefined();
  expect((await itemOf("ses_live")).sealed).toMatchObject({ seq: 2 });
  const warned = said.length;
  await heads.tick();
  expect(said).toHaveLength(warned);
});

it("S-42 a session that its proxy left is closed as lost, and the number that is named did arrive", async () => {
  const { heads, begin, itemOf, pass, store, sink } = open();
  await begin("ses_a", 3);
  pass(10 * minutes);
  await heads.tick();
  // more is said, and then the proxy is gone
  sink.append("ses_a", 9, makeStatement());
  const task = {
    ...{ id: "prx_1", address: "10.0.0.4", peerPort: 1, network: "default", version: "1" },
    ...{ startedAt: 0, heartbeatAt: 0, draining: false, sessions: 1 },
  };
  await store.write({ put: toItem(keys.proxy("prx_1"), task) });
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const swept = await sweep({ store, clock: { now: () => 60 * minutes }, random });
  expect(swept).toMatchObject({ sessions: ["ses_a"], failures: [] });
  expect(await itemOf("ses_a")).toMatchObject({ state: "lost", seq: 3, sealed: { seq: 3 } });
  const events = store.items().filter(({ pk }) => pk.startsWith("event#"));
  expect(events).toMatchObject([
    { name: "session.lost", details: { session: "ses_a", seq: 3, head: sink.records[2]?.["hash"] } },
  ]);
});
