// A session's two directions, and how it ends: by either side's half-close, or cut, with an error that says why between two
// messages to the client. What can't be understood ends it too: nothing is skipped.
// https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-TERMINATION
import type { Failure } from "@sallyport/core/failure";
import { dismiss } from "../bytes.ts";
import { type Directions, type Ending, relayUntilEnd } from "../ending.ts";
import type { End, Live } from "../protocol.ts";
import { openRecorder } from "../recorder.ts";
import type { PostgresServer } from "./client.ts";
import { startFlow } from "./flow.ts";
import { frames } from "./frame.ts";
import { fatal, fromClient, fromServer, sqlStates } from "./message.ts";
import type { PostgresClient } from "./server.ts";
import { copyLeft, observeClient, observeServer } from "./statement.ts";

const terminate = 0x58;
const errorResponse = 0x45;

/** A drain that ends a live session is worded as the server itself would (57P01); 57P03 is for those who are not in yet. */
const stateOf = ({ code }: Failure): string => (code === "draining" ? sqlStates.ended : sqlStates[code]);

/** Both ways of one session, and what is left of it for the audit. */
const lay = (live: Live, { near, far, cut, by }: Ending): Directions => {
  const { record, waits } = openRecorder(live);
  const copied = (): number => asks.copied() + answers.copied();
  const asks = frames(fromClient, observeClient(record));
  const answers = frames(fromServer, observeServer(record, copied));
  const between = { waits, touch: () => live.touch(), broken: cut };
  // a server that fails closes without a word, and not with a reset
  const said = (): boolean => by() === "client" || asks.last() === terminate || answers.last() === errorResponse;
  return {
    up: startFlow({ ...between, from: near, to: far, frames: asks, lenient: false, over: () => true }),
    down: startFlow({ ...between, from: far, to: near, frames: answers, lenient: true, over: said }),
    said,
    isWhole: () => answers.left() === 0,
    dismiss: (failure) => void dismiss(near, fatal(failure, stateOf(failure))),
    left: () => {
      const count = copied();
      if (count === 0) return;
      try {
        record(copyLeft(count));
      } catch {
        // the session is over; what could not be recorded can't be stopped any more
      }
    },
  };
};

export const relay = (client: PostgresClient, server: PostgresServer, live: Live): Promise<End> =>
  relayUntilEnd({ client: client.socket, server: server.socket }, live, (ending) => lay(live, ending));
