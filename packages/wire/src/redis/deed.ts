// What the relay does in the place of a command: says something else, or logs in, which is done alone, when all before is answered.
// The secrets it says are the proxy's own, or the client's that was let.
import { Failure } from "@sallyport/core/failure";
import { dismiss } from "../bytes.ts";
import type { Socket } from "../protocol.ts";
import type { RedisServer } from "./client.ts";
import { command, simple } from "./message.ts";
import type { Password } from "./password.ts";
import type { Ruling } from "./rule.ts";
import { type Expected, openState, type Pending, type State } from "./session.ts";

/** Something that stands in for a command; what comes behind it waits until it is done. */
export type Deed = Extract<Ruling, { does: "instead" | "login" | "reset" | "quit" }>;
type Login = Extract<Deed, { does: "login" }>;

export interface Deeds {
  /** Resolves when what comes behind may go on; undefined when it may at once. */
  act(deed: Deed): Promise<void> | undefined;
  /** Logs in as the session's own user; nobody hears of it. */
  enter(credential: Password): void;
}
export interface DeedOptions {
  readonly server: RedisServer;
  readonly near: Socket;
  readonly far: Socket;
  readonly state: State;
  readonly pending: Pending;
  /** Resolves when everything asked is answered. */
  idle(): Promise<void>;
  say(expected: Expected): void;
  cut(why: Failure): void;
  failure(): Failure | undefined;
  /** What was told of it has to be safe first. */
  waits(): readonly Promise<void>[] | undefined;
}

const refused = (): Failure =>
  new Failure("upstream_refused", "the database did not take the login again", { hint: "connect again" });

export const openDeeds = (options: DeedOptions): Deeds => {
  const { server, near, far, state, pending, idle, say, cut, failure, waits } = options;

  const enter = ({ user, password }: Password): void => {
    const after = (failed: boolean): void => {
      if (failed) cut(refused());
    };
    pending.expect({ name: "auth", drop: true, after });
    far.write(command("AUTH", user, password.reveal()));
  };

  const logIn = async ({ as, password, hello, silent }: Login): Promise<void> => {
    await idle();
    const chosen = password === undefined ? await server.credential() : { user: as, password };
    if (failure()) return;
    const auth = ["AUTH", chosen.user, chosen.password.reveal()];
    const { version = state.version, name } = hello ?? {};
    const setName = name === undefined ? [] : ["SETNAME", name];
    const after = (failed: boolean): void => {
      if (failed) return;
      state.as = as;
      state.version = version;
      server.become(password && { as: "password", user: as, password, methods: "clear" });
    };
    pending.expect({ name: hello ? "hello" : "auth", after, ...(silent && { drop: true }) });
    far.write(command(...(hello ? ["HELLO", String(version), ...auth, ...setName] : auth)));
    await idle();
  };

  /** All that a connection is goes, but not whose it is. */
  const reset = async (): Promise<void> => {
    await idle();
    const chosen = await server.credential();
    if (failure()) return;
    const after = (failed: boolean): void => {
      if (failed) return;
      Object.assign(state, openState(2, server.user));
      server.become(undefined);
    };
    pending.expect({ name: "reset", after });
    far.write(command("RESET"));
    enter(chosen);
    await idle();
  };

  const perform = (deed: Deed): Promise<void> | undefined => {
    if (deed.does === "login") return logIn(deed);
    if (deed.does === "reset") return reset();
    if (deed.does === "quit") say({ name: "quit", say: simple("OK"), after: () => void dismiss(near) });
    else {
      pending.expect(deed.expected);
      far.write(deed.bytes);
    }
    return undefined;
  };
  return {
    enter,
    act: (deed) => {
      const held = waits();
      return held ? Promise.all(held).then(() => (failure() ? undefined : perform(deed))) : perform(deed);
    },
  };
};
