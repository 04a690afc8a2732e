// How the nodes come to have the users that the account knows: one node after the other, each after a while, as on AWS. Until the
// last has them a change is not done, unless a node is told to lie about it.
import { toFailure } from "@sallyport/core/failure";
import type { CacheUser } from "../cache-user.ts";
import { pass, systemTimer, type Timer } from "../timer.ts";
import { userWords, withoutOthers } from "./acl.ts";
import type { RedisNode } from "./node.ts";

/** How a node falls back. */
export type Lag =
  /** It takes so much longer, and the change with it. */
  | { readonly is: "slow"; readonly byMs: number }
  /** It stays as it is, and the change is not done before it behaves again. */
  | { readonly is: "stuck" }
  /** It stays as it is, and the change is done all the same. */
  | { readonly is: "behind" };

export interface Following {
  /** Brings every node to these users, the first at once; settles when all have them. One at a time. */
  apply(users: readonly CacheUser[]): Promise<void>;
  /** Whether this user, as this node knows it, must show an IAM token. */
  isIam(at: number, user: string): boolean;
  /** Makes a node fall back from now on; without, it behaves again and gets what it has missed. */
  lag(at: number, lag?: Lag): Promise<void>;
  /** How long one node waits for the one before it, in milliseconds. */
  delay(ms: number): void;
}

export const openFollowing = (
  nodes: readonly Pick<RedisNode, "command" | "frontPassword">[],
  options: { readonly delayMs?: number; readonly timer?: Timer } = {},
): Following => {
  const { timer = systemTimer } = options;
  let delayMs = options.delayMs ?? 0;
  let wanted: readonly CacheUser[] | undefined;
  const iam = nodes.map(() => new Set<string>());
  const has = new Map<number, readonly CacheUser[]>();
  const lags = new Map<number, Lag>();
  const released = new Map<number, () => void>();

  const bring = async (at: number, users: readonly CacheUser[]): Promise<void> => {
    const node = nodes[at];
    if (!node || has.get(at) === users) return;
    try {
      const known = await node.command("ACL", "USERS");
      const names = Array.isArray(known) ? known.map(String) : [];
      for (const user of users) await node.command(...userWords(user, node.frontPassword));
      for (const words of withoutOthers(names, users)) await node.command(...words);
    } catch (thrown) {
      // a node that has gone lets nobody in any more
      if (toFailure(thrown).code !== "unavailable") throw thrown;
    }
    iam[at] = new Set(users.filter(({ type }) => type === "iam").map(({ name }) => name));
    has.set(at, users);
  };

  const bringLate = async (at: number, users: readonly CacheUser[]): Promise<void> => {
    const lag = lags.get(at);
    if (lag?.is === "behind") return;
    if (lag?.is === "slow") await pass(timer, lag.byMs);
    if (lag?.is === "stuck")
      await new Promise<void>((answer) => {
        released.set(at, answer);
      });
    await bring(at, users);
  };

  return {
    async apply(users) {
      wanted = users;
      await Promise.all(
        nodes.map(async (_, at) => {
          await pass(timer, at * delayMs);
          await bringLate(at, users);
        }),
      );
    },
    isIam: (at, user) => iam[at]?.has(user) ?? false,
    async lag(at, lag) {
      if (lag) lags.set(at, lag);
      else lags.delete(at);
      released.get(at)?.();
      released.delete(at);
      // what it has missed while it lied; what waits for it comes by itself
      if (!lag && wanted) await bring(at, wanted);
    },
    delay: (ms) => {
      delayMs = ms;
    },
  };
};
