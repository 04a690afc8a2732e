// The measurements of MongoDB's protocol, each of one way for a second or two: finds by key, inserts of 1,000 documents at once,
// a cursor of 100 MB read to its end again and again. Connections on the server must never be more than the client's.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { message } from "@sallyport/wire/mongodb/message";
import { Long, serialize } from "bson";
import { cpuOf, type Sample } from "../measure.ts";
import { account } from "../server.ts";
import type { Way } from "../way.ts";
import { type MongoVisitor, visit } from "./client.ts";
import type { MongoBench } from "./server.ts";
import { batchOf, inserted, scanned } from "./shape.ts";

const patienceMs = 10_000;
const $db = account.database;
const find = message({ find: "item", filter: { _id: 1 }, limit: 1, singleBatch: true, $db }, { requestId: 3 });
const scan = message({ find: "bulk", $db }, { requestId: 3 });
/** Where the cursor's id is in a request to go on, and in an answer. */
const idInMore = 16 + 5 + 4 + 1 + "getMore\0".length;
/** A first batch is shorter. */
const firstBatch = 200_000;
const more = message({ getMore: Long.fromNumber(1), collection: "bulk", $db }, { requestId: 4 });

/** A body, and the documents in a section of their own, as drivers send them. */
const insert = ((): Buffer => {
  const body = message({ insert: "bulk", ordered: true, $db }, { requestId: 3 });
  const documents = Buffer.concat(batchOf(inserted.documents).map((document) => serialize(document)));
  const name = Buffer.from("documents\0");
  const head = Buffer.alloc(5);
  head[0] = 1;
  head.writeInt32LE(4 + name.length + documents.length, 1);
  const whole = Buffer.concat([body, head, name, documents]);
  whole.writeInt32LE(whole.length, 0);
  return whole;
})();

/** Connections to the server: now, and the most at once since this was last asked. */
const ask = async ({ teller }: MongoBench): Promise<readonly [now: number, most: number]> => {
  const socket = connect(teller, "127.0.0.1");
  let said = "";
  socket.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  await once(socket, "close");
  const [now = Number.NaN, most = Number.NaN] = said.split(" ").map(Number);
  return [now, most];
};
/** Those of the measurement before are gone. */
const empty = async (bench: MongoBench): Promise<void> => {
  const until = performance.now() + patienceMs;
  while ((await ask(bench))[0] > 0) {
    if (performance.now() > until) throw new Error("connections to the server outlive their clients");
    await wait(10);
  }
};

/** What one connection does again and again; how much of it is done is a number of its own. */
interface Act {
  run(visitor: MongoVisitor): Promise<void>;
  /** What counts: finds, or megabytes that the server has taken or the client has got. */
  done(times: number, received: number): number;
}
const idKey = Buffer.from("\x12id\0");
/** Behind the first batch; none of its documents has such a key. */
const cursorAt = (answer: Buffer): number => answer.lastIndexOf(idKey) + idKey.length;

const acts = {
  find: { run: async ({ ask }) => void (await ask(find)), done: (times) => times },
  insert: { run: async ({ ask }) => void (await ask(insert)), done: (times) => (times * insert.length) / 1e6 },
  scan: {
    run: async ({ ask }) => {
      const { head } = await ask(scan, firstBatch);
      const request = Buffer.from(more);
      head.copy(request, idInMore, cursorAt(head), cursorAt(head) + 8);
      for (let at = 0; at < scanned.batches; at++) await ask(request);
    },
    done: (_, received) => received / 1e6,
  },
} as const satisfies Readonly<Record<string, Act>>;
export type ActName = keyof typeof acts;

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? Number.NaN;

/** `tps`: of finds their number, of the others megabytes a second; CPU for one of these. */
export const measureAct = async (
  bench: MongoBench,
  way: Way,
  of: { readonly act: ActName; readonly clients: number; readonly seconds: number },
): Promise<Sample> => {
  await empty(bench);
  await ask(bench);
  const visitors = await Promise.all(Array.from({ length: of.clients }, () => visit(way, bench.ca)));
  const act: Act = acts[of.act];
  const took: number[] = [];
  let over = false;
  const lane = async (visitor: MongoVisitor): Promise<void> => {
    while (!over) {
      const at = performance.now();
      await act.run(visitor);
      took.push(performance.now() - at);
    }
  };
  const receivedBy = (): number => visitors.reduce((sum, { received }) => sum + received(), 0);
  const [before, received, startedAt] = [await cpuOf(way.pid), receivedBy(), performance.now()];
  const lanes = visitors.map(lane);
  await Promise.race([wait(of.seconds * 1_000), Promise.all(lanes)]);
  over = true;
  const done = act.done(took.length, receivedBy() - received);
  const cpu = (await cpuOf(way.pid)) - before;
  const seconds = (performance.now() - startedAt) / 1_000;
  const [, most] = await ask(bench);
  // a scan in the middle need not be read to its end
  for (const visitor of visitors) visitor.leave();
  await Promise.allSettled(lanes);
  if (most > of.clients)
    throw new Error(`${way.name}: ${most} connections to the server for ${of.clients} of the client`);
  took.sort((a, b) => a - b);
  return {
    tps: done / seconds,
    p50Us: quantile(took, 0.5) * 1_000,
    p99Us: quantile(took, 0.99) * 1_000,
    ...(way.pid === undefined || done === 0 ? {} : { cpu: cpu / done }),
  };
};
