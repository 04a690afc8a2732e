// A bound token kept fresh for a tunnel: asked for once, renewed with the same key before it expires and when the gate
// no longer takes it. The login is read afresh each time, so logging in again in another terminal is enough.
import type { ConnectAnswer } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import type { Context } from "./context.ts";
import type { Pass } from "./gate.ts";
import { makeKeyPair } from "./key.ts";
import { openApi } from "./profile.ts";
import { withProgress } from "./terminal.ts";

/** What is asked for; user and name left out mean the only ones the roles name. */
export interface Wish {
  readonly database: string;
  readonly user?: string | undefined;
  readonly name?: string | undefined;
}

const renewBeforeMs = 5 * 60_000;
const giveUpAfterMs = 5 * 60_000;
const defaultRetrySeconds = 2;
const longestRetrySeconds = 30;

/** Asks for a token and waits while nothing is there yet to connect to. @throws Failure `starting` after five minutes */
export const askConnect = async (context: Context, wish: Wish, key?: string): Promise<ConnectAnswer> => {
  const { database, user, name } = wish;
  const input = {
    database,
    ...(user === undefined ? {} : { user }),
    ...(name === undefined ? {} : { name }),
    ...(key === undefined ? {} : { key }),
  };
  const untilAt = context.clock.now() + giveUpAfterMs;
  const ask = async (): Promise<ConnectAnswer> => {
    for (;;) {
      const answer = await openApi(context).call("connect", input);
      if (answer.state === "ready") return answer;
      const seconds = Math.min(Math.max(answer.retryAfter ?? defaultRetrySeconds, 1), longestRetrySeconds);
      if (context.clock.now() + seconds * 1000 > untilAt)
        throw new Failure("starting", `the proxies for ${database} are still starting`, {
          hint: "try again in a minute",
        });
      await context.sleep(seconds * 1000);
    }
  };
  return withProgress(context, `waiting for ${database}`, ask());
};

export interface Keeper {
  /** What was asked and answered first. */
  readonly answer: ConnectAnswer;
  /** A pass that is good for a while. @throws Failure when there is none to be had */
  pass(): Promise<Pass>;
  /** The gate did not take this one: the next pass() asks for another. */
  drop(pass: Pass): void;
}

export const keepPass = async (context: Context, wish: Wish): Promise<Keeper> => {
  const key = makeKeyPair();
  const passOf = (answer: ConnectAnswer): Pass => ({ gate: answer.gate, token: secret(answer.token), key });
  const answer = await askConnect(context, wish, key.publicKey);
  // from now on for the very user and name that the answer settled on
  const same: Wish = { database: answer.database, user: answer.user, name: answer.name };
  let held: { pass: Pass; expiresAt: number } | undefined = { pass: passOf(answer), expiresAt: answer.expiresAt };
  let renewal: Promise<Pass> | undefined;

  const renew = async (): Promise<Pass> => {
    try {
      const fresh = await askConnect(context, same, key.publicKey);
      held = { pass: passOf(fresh), expiresAt: fresh.expiresAt };
      return held.pass;
    } catch (thrown) {
      // a server that can't be asked just now is no reason to stop while the old token lasts
      if (held && held.expiresAt > context.clock.now()) return held.pass;
      throw thrown;
    } finally {
      renewal = undefined;
    }
  };
  return {
    answer,
    pass: async () => {
      if (held && held.expiresAt - context.clock.now() > renewBeforeMs) return held.pass;
      renewal ??= renew();
      return renewal;
    },
    drop: (pass) => {
      if (held?.pass === pass) held = undefined;
    },
  };
};
