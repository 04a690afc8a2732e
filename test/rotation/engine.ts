// The users of an emulated ElastiCache, as far as rotation sees them: two passwords, changes that take time and are refused meanwhile,
// nodes that hear of a change one by one, and everything that people do to users by hand.
import { Failure } from "@sallyport/core/failure";
import type { UserState } from "@sallyport/core/kind";
import type { Dice, Machine } from "./machine.ts";

export interface EngineUser {
  readonly id: string;
  type: "password" | "iam";
  tagged: boolean;
  passwords: readonly string[];
  state: "active" | "modifying";
  /** What each node takes; it follows `passwords`. */
  readonly nodes: { passwords: readonly string[]; reachable: boolean }[];
  /** Counts the changes, so that an older one does not end a newer one. */
  change: number;
}

export interface EngineEvents {
  /** A change was accepted. */
  applied(user: EngineUser, passwords: readonly string[]): void;
  /** What somebody did by hand has come to a node. */
  disturbed(id: string): void;
}

export const openEngine = (machine: Machine, dice: Dice, events: EngineEvents) => {
  const users = new Map<string, EngineUser>();

  /** Each node hears of it in its own time; then the user is active again. */
  const spread = (user: EngineUser, passwords: readonly string[], byHand = false): void => {
    user.passwords = passwords;
    user.state = "modifying";
    const change = ++user.change;
    const { nodes } = user;
    const slow = dice.chance(0.1) ? 100_000 : 20_000;
    const times = nodes.map(() => machine.now() + dice.between(0, slow));
    for (const [index, node] of nodes.entries())
      machine.at(times[index] ?? 0, () => {
        if (user.change !== change) return;
        node.passwords = passwords;
        if (byHand) events.disturbed(user.id);
      });
    // sometimes AWS says so early: a node that was away when the others heard
    const early = dice.chance(0.2) ? dice.between(0, dice.chance(0.3) ? 90_000 : 5_000) : 0;
    machine.at(Math.max(Math.max(...times) - early, machine.now()) + 1, () => {
      if (user.change === change) user.state = "active";
    });
  };

  return {
    users,
    add(id: string, nodes: number): EngineUser {
      const theirs = [`made-by-hand-${id}`];
      const user: EngineUser = {
        id,
        type: "password",
        tagged: true,
        passwords: theirs,
        state: "active",
        nodes: Array.from({ length: nodes }, () => ({ passwords: theirs, reachable: true })),
        change: 0,
      };
      users.set(id, user);
      return user;
    },
    state(id: string): UserState {
      const user = users.get(id);
      if (!user) return "gone";
      return user.type === "iam" ? "iam" : user.state;
    },
    apply(id: string, passwords: readonly string[]): void {
      const user = users.get(id);
      if (!user) throw new Failure("not_found", `no user ${id}`);
      if (user.state !== "active") throw new Failure("conflict", `${id} is ${user.state}`);
      if (passwords.length < 1 || passwords.length > 2 || passwords.some((one) => !/^[0-9a-f]{16,128}$/.test(one)))
        throw new Failure("invalid", "one or two passwords of 16 to 128 characters");
      user.type = "password";
      spread(user, passwords);
      events.applied(user, passwords);
    },
    /** Somebody else changes the user. */
    change(id: string, passwords: readonly string[]): void {
      const user = users.get(id);
      if (user) spread(user, passwords, true);
    },
    login: (id: string, node: number, password: string): "ok" | "refused" | "unreachable" => {
      const found = users.get(id)?.nodes[node];
      if (!found?.reachable) return found ? "unreachable" : "refused";
      return users.get(id)?.type === "password" && found.passwords.includes(password) ? "ok" : "refused";
    },
  };
};
export type Engine = ReturnType<typeof openEngine>;
