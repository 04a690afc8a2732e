// A relay between two links in memory, and what its session saw.
import type { MongodbServer } from "@sallyport/wire/mongodb/client";
import { openCursors } from "@sallyport/wire/mongodb/cursor";
import { usual } from "@sallyport/wire/mongodb/hello";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import type { End, Live } from "@sallyport/wire/protocol";
import type { Document } from "bson";
import { afterEach } from "vitest";
import { type Link, link, type Session, session } from "../door.ts";
import { ask, documents } from "./bytes.ts";

export interface Stand {
  readonly client: Link;
  readonly server: Link;
  readonly seen: Session;
  readonly done: Promise<End>;
}
type View = MongodbServer["cursors"];
const cursorsOf = (): View => openCursors()("orders", "ada");
export const serverOn = (made: Link, cursors: View = cursorsOf()): MongodbServer => ({
  ...{ socket: made.ours, peer: { address: "10.0.0.7", port: 27017 }, application: "sallyport-1" },
  ...{ limits: { ...usual, maxWireVersion: 21 }, cursors },
});
export interface StandOptions {
  readonly seen?: Session;
  readonly cursors?: View;
  readonly live?: Partial<Live>;
}
const stand = (options: StandOptions = {}): Stand => {
  const { seen = session() } = options;
  const [client, server] = [link(), link()];
  const done = mongodb.relay(
    { socket: client.ours, pending: undefined, sasl: false },
    serverOn(server, options.cursors),
    { ...seen.live, ...options.live },
  );
  return { client, server, seen, done };
};
export const turn = (): Promise<void> => new Promise(setImmediate);
export const turns = async (count = 20): Promise<void> => {
  for (let left = count; left > 0; left--) await turn();
};

const open: Stand[] = [];
/** One that is over with its test. */
export const standing = (options?: StandOptions): Stand => {
  const made = stand(options);
  open.push(made);
  return made;
};
afterEach(async () => {
  for (const { client, server, done } of open.splice(0)) {
    client.ours.destroy();
    server.ours.destroy();
    await done;
  }
});

export const find = (id: number, db = "orders", more: Document = {}): Buffer =>
  ask(id, { find: "items", ...more, $db: db });
/** What the client is told for one message, and what the server heard of it. */
export const told = async (
  { client, server }: Stand,
  bytes: Buffer,
): Promise<{ answers: readonly Document[]; heard: Buffer }> => {
  client.theirs.write(bytes);
  await turns();
  return { answers: documents(client.received()), heard: server.received() };
};
