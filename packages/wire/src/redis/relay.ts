// A session's two directions: what passes, what is answered here, and the logins that the proxy does itself: a client's, where its
// role lets it, after RESET, and again before AWS ends a connection that logged in long ago. How it ends is everybody's (ending.ts):
// with an error that says why, as the answer to what the client waits for.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import { Failure } from "@sallyport/core/failure";
import { dismiss } from "../bytes.ts";
import { type Directions, type Ending, relayUntilEnd } from "../ending.ts";
import { startFlow } from "../flow.ts";
import type { End, Live, Socket } from "../protocol.ts";
import { openRecorder } from "../recorder.ts";
import type { RedisServer } from "./client.ts";
import { openDeeds } from "./deed.ts";
import { errorAnswer, errorPush } from "./message.ts";
import { openRenewal } from "./renewal.ts";
import { openRequests } from "./request.ts";
import { openResults } from "./result.ts";
import type { RedisClient } from "./server.ts";
import { type Expected, isSubscriber, openPending, openState, otherThan } from "./session.ts";
import { errorStatement } from "./statement.ts";

/** What a client may ask without hearing the answers. */
const mostWaiting = 1_048_576;
/** And of what takes room until it is answered, as refusals do. */
const mostOwn = 65_536;

const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });

/** Both ways of one session, and what it answers itself. */
const lay = (server: RedisServer, live: Live, { near, far, cut, by, failure }: Ending): Directions => {
  const { user } = server;
  const [outgoing, incoming] = [openRecorder(live), openRecorder(live)];
  const pending = openPending();
  const state = openState(server.node.version, user);
  let behind = false; //     has an answer been counted that was not yet passed on?
  let said = false; //       were answers of ours written since the client last took all?
  let unasked = 0; //        is one expected that was never asked in full?
  const whenIdle: (() => void)[] = [];
  let whenRoom: (() => void) | undefined;

  const isIdle = (): boolean => pending.count() <= unasked && !results.inside() && !behind;
  const idle = (): Promise<void> => (isIdle() ? Promise.resolve() : new Promise((then) => void whenIdle.push(then)));

  /** Says what of ours comes next. */
  const flush = (): void => {
    if (behind || results.inside() || failure()) return;
    for (let next = pending.first(); next?.say; next = pending.first()) {
      pending.done();
      near.write(next.say);
      said = true;
      next.after?.(false);
    }
  };
  /** A run of answers has passed, or was taken out. */
  const passed = (): undefined => {
    behind = false;
    flush();
    if (whenRoom && pending.count() < mostWaiting / 2 && pending.own() < mostOwn / 2) {
      whenRoom();
      whenRoom = undefined;
    }
    if (!isIdle()) return;
    if (whenIdle.length > 0) for (const then of whenIdle.splice(0)) then();
    renewal.look();
  };
  const say = (expected: Expected): void => {
    pending.expect(expected);
    flush();
  };

  /** The client may not go on while too much waits to be answered, or to be taken. */
  const room = (): Promise<void> | undefined => {
    if (pending.count() >= mostWaiting || pending.own() >= mostOwn)
      return new Promise((then) => {
        whenRoom = then;
      });
    if (far.writableNeedDrain) return drained(far);
    if (said && near.writableNeedDrain) return drained(near);
    said = false;
    return renewal.wait();
  };

  const deeds = openDeeds({
    ...{ server, near, far, state, pending, idle, say, cut, failure },
    waits: outgoing.waits,
  });
  const renewal = openRenewal({
    after: server.renewAfterMs,
    credential: server.credential,
    enter: deeds.enter,
    isDue: () => state.as === user,
    mayNow: () => isIdle() && !requests.inside() && !failure(),
    mayWait: () => !state.multi && !isSubscriber(state),
  });

  const requests = openRequests({
    judges: { guard: (access) => live.guard(access), state, user },
    ...{ pending, record: outgoing.record, say, act: deeds.act },
  });
  const results = openResults({
    ...{ pending, state },
    failed: (name, text) => incoming.record(errorStatement(name, text, otherThan(user, state))),
    instead: (bytes) => void near.write(bytes),
  });
  const counted = {
    ...results,
    scan: (bytes: Buffer, from: number, once: boolean): number => {
      behind = true;
      return results.scan(bytes, from, once);
    },
  };
  /** What can't be read is said when what came before it is answered. */
  const astray = (why: Failure): void => {
    if (why.code !== "protocol" && why.code !== "too_large") {
      cut(why);
      return;
    }
    up.stop();
    near.resume();
    unasked = requests.inside() ? 1 : 0;
    near.once("end", () => cut(why));
    void idle().then(() => cut(why));
  };
  const between = { touch: () => live.touch() };
  const up = startFlow({
    ...{ ...between, from: near, to: far, frames: requests, waits: outgoing.waits, room, broken: astray },
    ...{ lenient: true, over: () => true },
  });
  /** Has somebody said that the session ends? A server that fails closes without a word. */
  const wasSaid = (): boolean => by() === "client" || requests.quit();
  const down = startFlow({
    ...{ ...between, from: far, to: near, frames: counted, waits: incoming.waits, room: passed, broken: cut },
    ...{ lenient: true, over: wasSaid },
  });
  // a lane of several nodes says why it can't go on
  far.once("error", (thrown) => {
    if (thrown instanceof Failure) cut(thrown);
  });
  return {
    ...{ up, down },
    isWhole: () => !results.inside(),
    said: wasSaid,
    dismiss: (why) => {
      const asked = pending.count() > 0 || state.version === 2;
      void dismiss(near, asked ? errorAnswer(why) : errorPush(why));
    },
    left: () => renewal.stop(),
  };
};

export const relay = (client: RedisClient, server: RedisServer, live: Live): Promise<End> =>
  relayUntilEnd({ client: client.socket, server: server.socket }, live, (ending) => lay(server, live, ending));
