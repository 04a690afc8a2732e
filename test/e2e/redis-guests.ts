// People with sessions on a world with Redis in it (redis-world.ts), by either way in: what the files of tests about them share.
// What a test opens is closed behind it.
import { afterEach, expect } from "vitest";
import { openIoredis } from "./clients/ioredis.ts";
import { openRedisRaw, type RawRedis } from "./clients/redis-raw.ts";
import { openTunnelFor, type Place, type TunnelOf } from "./clients/way.ts";
import { bearerOf, type Counter } from "./redis-world.ts";
import { plainly, type World } from "./world.ts";

type Person = Awaited<ReturnType<World["person"]>>;
interface Wish {
  readonly roles?: readonly string[];
  readonly database?: string;
  readonly user?: string;
}

export const openGuests = (counter: () => Counter) => {
  const people = new Map<string, Promise<Person>>();
  const tunnels: TunnelOf[] = [];
  const opened: (() => void)[] = [];
  afterEach(() => {
    for (const close of opened.splice(0)) close();
  });

  const personOf = (name: string, roles: readonly string[] = ["caches"]): Promise<Person> => {
    const known = people.get(name) ?? counter().world.person(name, roles);
    people.set(name, known);
    return known;
  };
  const raw = async (place: Pick<Place, "host" | "port" | "ca">): Promise<RawRedis> => {
    const client = await openRedisRaw(place);
    opened.push(client.close);
    return client;
  };
  return {
    personOf,
    /** A place at the plain port, with a token of its own. */
    plain: async (name: string, { roles, ...over }: Wish = {}): Promise<Place> =>
      plainly(counter().world.laptop, await bearerOf(await personOf(name, roles), over)),
    /** A tunnel's. */
    tunnelled: async (name: string, { roles, database = "till", user = "ann" }: Wish = {}): Promise<Place> => {
      await personOf(name, roles);
      const made = await openTunnelFor(counter().world, name, { database, user });
      tunnels.push(made);
      const { host, port } = made.tunnel;
      return { host, port, user, database: "", password: "any" };
    },
    /** ioredis, which connects by itself. */
    open: (place: Place) => {
      const client = openIoredis(place);
      opened.push(() => client.disconnect());
      return client;
    },
    raw,
    /** By bytes, logged in. */
    enter: async (place: Place): Promise<RawRedis> => {
      const client = await raw(place);
      if (place.ca === undefined) return client;
      client.say(["AUTH", place.user, place.password]);
      expect(await client.lines(1)).toEqual(["+OK"]);
      return client;
    },
    /** The answers to these, each of one line. */
    ask: (client: RawRedis, ...commands: readonly (readonly string[])[]): Promise<readonly string[]> => {
      client.say(...commands);
      return client.lines(commands.length);
    },
    close: async (): Promise<void> => {
      for (const one of tunnels.splice(0)) await one.close();
    },
  };
};
