// A relay between two links in memory, and what its session saw.
import type { PostgresServer } from "@sallyport/wire/postgres/client";
import { postgres } from "@sallyport/wire/postgres/postgres";
import type { End } from "@sallyport/wire/protocol";
import { type Link, link, message, type Session, session } from "../door.ts";

export const ready = message("Z", "I");
export const complete = message("C", "SELECT 1\0");
export const query = (text: string): Buffer => message("Q", `${text}\0`);

export interface Stand {
  readonly client: Link;
  readonly server: Link;
  readonly seen: Session;
  readonly done: Promise<End>;
}
export const serverOn = (made: Link): PostgresServer => ({
  ...{ socket: made.ours, peer: { address: "10.0.0.7", port: 5432 } },
  ...{ key: undefined, parameters: [], notices: [], ready },
});
export const stand = (seen: Session = session(), gather = true): Stand => {
  const [client, server] = [link({ gather }), link({ gather })];
  const done = postgres.relay({ socket: client.ours, minor: 0 }, serverOn(server), seen.live);
  return { client, server, seen, done };
};
export const turn = (): Promise<void> => new Promise(setImmediate);
export const turns = async (count = 20): Promise<void> => {
  for (let left = count; left > 0; left--) await turn();
};
