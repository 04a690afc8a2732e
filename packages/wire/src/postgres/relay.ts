// A session's two directions, and how it ends: by either side's half-close, or cut, with an error that says why between two
// messages to the client. What can't be understood ends it too: nothing is skipped.
// https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-TERMINATION
import type { Statement } from "@sallyport/core/audit";
import { Failure, toFailure } from "@sallyport/core/failure";
import { dismiss, quiet } from "../bytes.ts";
import type { End, Live } from "../protocol.ts";
import type { PostgresServer } from "./client.ts";
import { type Flow, startFlow } from "./flow.ts";
import { frames } from "./frame.ts";
import { fatal, fromClient, fromServer, sqlStates } from "./message.ts";
import type { PostgresClient } from "./server.ts";
import { copyLeft, observeClient, observeServer } from "./statement.ts";

// how long a cut waits for the current message, a closed side for the other, and a client's last bytes for the client
const boundaryMs = 1_000;
const closeMs = 5_000;
const deliverMs = 30_000;

const terminate = 0x58;
const errorResponse = 0x45;

const lost = (): Failure =>
  new Failure("upstream_unreachable", "the database closed the connection", {
    hint: "connect again; the database or its network may have failed",
  });

/** A drain that ends a live session is worded as the server itself would (57P01); 57P03 is for those who are not in yet. */
const stateOf = ({ code }: Failure): string => (code === "draining" ? sqlStates.ended : sqlStates[code]);

/** The audit's half: records as they are made, and the promises of those that must be durable first. */
const recorder = (live: Live) => {
  let promises: Promise<void>[] | undefined;
  return {
    record: (statement: Statement): void => {
      const durable = live.record(statement);
      if (!durable || durable === promises?.at(-1)) return;
      // the one who waits may be gone by then
      durable.catch(() => {});
      promises ??= [];
      promises.push(durable);
    },
    waits: (): readonly Promise<void>[] | undefined => {
      const made = promises;
      promises = undefined;
      return made;
    },
  };
};

export const relay = (client: PostgresClient, server: PostgresServer, live: Live): Promise<End> =>
  new Promise((resolve) => {
    const near = quiet(client.socket);
    const far = quiet(server.socket);
    // whoever has said all it wants to say still listens: Node would close a socket of ours at its first end
    near.allowHalfOpen = true;
    const { record, waits } = recorder(live);
    let by: End["by"] | undefined;
    let failure: Failure | undefined;
    let timer: NodeJS.Timeout | undefined;
    let parted = false;

    const after = (ms: number, act: () => void): void => {
      clearTimeout(timer);
      timer = setTimeout(act, ms);
    };

    /** Nothing goes to the database any more; the client is told why, unless it is inside a message. */
    const farewell = (whole: boolean): void => {
      if (parted) return;
      parted = true;
      clearTimeout(timer);
      down.stop();
      far.destroy();
      if (failure && whole) void dismiss(near, fatal(failure, stateOf(failure)));
      else near.destroy();
    };
    const cut = (why: Failure, who: End["by"] = "cut"): void => {
      if (failure || near.closed) return;
      by ??= who;
      failure = why;
      up.stop();
      after(boundaryMs, () => farewell(false));
      down.finish(farewell);
      if (far.closed) farewell(answers.left() === 0);
    };

    const copied = (): number => asks.copied() + answers.copied();
    const asks = frames(fromClient, observeClient(record));
    const answers = frames(fromServer, observeServer(record, copied));
    const between = { waits, touch: () => live.touch(), broken: cut };
    /** Has somebody said that the session ends? A server that fails closes without a word, and not with a reset. */
    const said = (): boolean => by === "client" || asks.last() === terminate || answers.last() === errorResponse;
    const up: Flow = startFlow({ ...between, from: near, to: far, frames: asks, lenient: false, over: () => true });
    const down: Flow = startFlow({ ...between, from: far, to: near, frames: answers, lenient: true, over: said });

    const recordRest = (): void => {
      const count = copied();
      if (count === 0) return;
      try {
        record(copyLeft(count));
      } catch {
        // the session is over; what could not be recorded can't be stopped any more
      }
    };
    const finish = (): void => {
      if (!near.closed || !far.closed) return;
      clearTimeout(timer);
      live.ended.removeEventListener("abort", onAbort);
      recordRest();
      resolve({ by: by ?? "cut", ...(failure ? { failure } : {}) });
    };

    const onNearClose = (): void => {
      if (far.closed) {
        finish();
        return;
      }
      by ??= "client";
      down.stop();
      if (failure || !near.readableEnded) far.destroy();
      else {
        // its last words are on their way; the answers have nobody to go to
        far.resume();
        after(closeMs, () => far.destroy());
      }
    };
    const onFarClose = (): void => {
      if (near.closed) finish();
      if (failure) farewell(answers.left() === 0);
      if (near.closed || failure) return;
      if (!far.readableEnded) {
        cut(lost(), "server");
        return;
      }
      after(near.writableFinished ? boundaryMs : deliverMs, () => near.destroy());
      near.once("finish", () => after(boundaryMs, () => near.destroy()));
    };
    const onFarEnd = (): void => {
      if (!said()) cut(lost(), "server");
      by ??= "server";
      if (failure) return;
      // what the client still says has nobody to go to
      up.stop();
      far.end();
      near.resume();
    };
    const onAbort = (): void => cut(toFailure(live.ended.reason));

    near.once("end", () => {
      by ??= "client";
    });
    far.once("end", onFarEnd);
    near.once("close", onNearClose);
    far.once("close", onFarClose);
    live.ended.addEventListener("abort", onAbort, { once: true });
    if (live.ended.aborted) onAbort();
    if (near.closed) onNearClose();
    if (far.closed) onFarClose();
    near.resume();
    if (!failure) far.resume();
  });
