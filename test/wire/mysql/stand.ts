// A relay between two links in memory, and what its session saw.
import type { Capabilities } from "@sallyport/wire/mysql/capability";
import type { MysqlServer } from "@sallyport/wire/mysql/client";
import { mysql } from "@sallyport/wire/mysql/mysql";
import type { End, Live } from "@sallyport/wire/protocol";
import { type Link, link, type Session, session } from "../door.ts";
import { usual } from "./bytes.ts";

export interface Stand {
  readonly client: Link;
  readonly server: Link;
  readonly seen: Session;
  readonly done: Promise<End>;
}
export interface StandOptions {
  readonly seen?: Session;
  readonly gather?: boolean;
  readonly agreed?: Partial<Capabilities>;
  /** The id in the greeting, where it was ours. */
  readonly connection?: number;
  readonly localFiles?: boolean;
  readonly live?: Partial<Live>;
}
export const serverOn = (made: Link, agreed: Capabilities, localFiles = false): MysqlServer => ({
  ...{
    socket: made.ours,
    peer: { address: "10.0.0.7", port: 3306 },
    connection: 77,
    ready: Buffer.of(0, 0, 0, 2, 0, 0, 0),
  },
  ...{ agreed, localFiles, schema: "orders" },
});
export const stand = (options: StandOptions = {}): Stand => {
  const { seen = session(), gather = true, localFiles = false } = options;
  const agreed = { flags: usual, extended: 0, ...options.agreed };
  const [client, server] = [link({ gather }), link({ gather })];
  const id = options.connection === undefined ? {} : { connection: options.connection };
  const live = { ...seen.live, ...options.live };
  const done = mysql.relay({ socket: client.ours, agreed, next: 3, ...id }, serverOn(server, agreed, localFiles), live);
  return { client, server, seen, done };
};
export const turn = (): Promise<void> => new Promise(setImmediate);
export const turns = async (count = 20): Promise<void> => {
  for (let left = count; left > 0; left--) await turn();
};
