// A relay between two links in memory, and what its session saw.
import type { Access, Denial } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { secret } from "@sallyport/core/secret";
import type { End, Live } from "@sallyport/wire/protocol";
import type { RedisServer } from "@sallyport/wire/redis/client";
import type { Version } from "@sallyport/wire/redis/lane";
import type { Password } from "@sallyport/wire/redis/password";
import { redis } from "@sallyport/wire/redis/redis";
import { afterEach } from "vitest";
import { type Link, link, type Session, session } from "../door.ts";

export interface Stand {
  readonly client: Link;
  readonly server: Link;
  readonly seen: Session;
  readonly done: Promise<End>;
  readonly became: (Password | undefined)[];
}
interface ServerOptions {
  readonly version?: Version;
  readonly renewAfterMs?: number;
  readonly credential?: () => Promise<Credential>;
  readonly became?: Stand["became"];
}
interface StandOptions extends Omit<ServerOptions, "became"> {
  readonly seen?: Session;
  readonly live?: Partial<Live>;
  readonly links?: { readonly client?: Link; readonly server?: Link };
}
export const password: Password = {
  as: "password",
  user: "ada",
  password: secret("fresh-token"),
  methods: "clear",
};
export const deny = (access: Access): Denial => ({
  denied: true,
  reasons: [{ code: "option", text: `${JSON.stringify(access)} is not allowed` }],
});

/** A server logged in to, at the other end of a link. */
export const serverOn = (
  { ours: socket }: Link,
  { version = 2, renewAfterMs = 3_600_000, credential, became = [] }: ServerOptions = {},
): RedisServer => ({
  ...{ socket, peer: { address: "10.0.0.7", port: 6379 }, user: "ada", renewAfterMs },
  node: {
    ...{ socket, peer: { address: "10.0.0.7", port: 6379 }, version, hello: Buffer.alloc(0) },
    ...{ id: 7, clustered: false },
  },
  open: () => [],
  credential: async () => ((await credential?.()) as Password | undefined) ?? password,
  become: (other) => void became.push(other),
});

const open: Stand[] = [];
/** One that is over with its test. */
export const standing = (options: StandOptions = {}): Stand => {
  const { seen = session(), links = {} } = options;
  const { client = link(), server = link() } = links;
  const became: Stand["became"] = [];
  const made = serverOn(server, { ...options, became });
  const done = redis.relay({ socket: client.ours, pending: undefined }, made, { ...seen.live, ...options.live });
  const stand = { client, server, seen, done, became };
  open.push(stand);
  return stand;
};
afterEach(async () => {
  for (const { client, server, done } of open.splice(0)) {
    client.ours.destroy();
    server.ours.destroy();
    await done;
  }
});

const turn = (): Promise<void> => new Promise(setImmediate);
export const turns = async (count = 20): Promise<void> => {
  for (let left = count; left > 0; left--) await turn();
};
export const text = (made: Link): string => made.received().toString("latin1");
/** The client says this, and the server has heard what it will. */
export const say = async ({ client }: Stand, ...pieces: readonly (Buffer | string)[]): Promise<void> => {
  for (const piece of pieces) client.theirs.write(piece);
  await turns();
};
export const answer = async ({ server }: Stand, ...pieces: readonly (Buffer | string)[]): Promise<void> => {
  for (const piece of pieces) server.theirs.write(piece);
  await turns();
};
