// How a relayed session ends, whatever the protocol: by either side's half-close, or cut, with words for the client between two
// messages of the database's. The protocol says what the words are and when a message is whole.
import { Failure, toFailure } from "@sallyport/core/failure";
import { quiet } from "./bytes.ts";
import type { Flow } from "./flow.ts";
import type { End, Live, Socket } from "./protocol.ts";

/** What a protocol may ask of the session that it relays. */
export interface Ending {
  readonly near: Socket;
  readonly far: Socket;
  cut(why: Failure): void;
  /** Who ended it, once somebody has. */
  by(): End["by"] | undefined;
  failure(): Failure | undefined;
}

/** The two directions, and what only the protocol knows. */
export interface Directions {
  readonly up: Flow;
  readonly down: Flow;
  /** Is the client between two messages of the database's? */
  isWhole(): boolean;
  /** Has somebody said that the session ends? A server that fails closes without a word. */
  said(): boolean;
  /** The failure in the protocol's words, then the end of the connection. */
  dismiss(failure: Failure): void;
  /** Both sides have closed. */
  left(): void;
}

// how long a cut waits for the current message, a closed side for the other, and a client's last bytes for the client
export const boundaryMs = 1_000;
const closeMs = 5_000;
const deliverMs = 30_000;

const lost = (): Failure =>
  new Failure("upstream_unreachable", "the database closed the connection", {
    hint: "connect again; the database or its network may have failed",
  });

/** Both ways, as `open` lays them, until both sockets are closed. Never rejects. */
export const relayUntilEnd = (
  sockets: { readonly client: Socket; readonly server: Socket },
  live: Live,
  open: (ending: Ending) => Directions,
): Promise<End> =>
  new Promise((resolve) => {
    const near = quiet(sockets.client);
    const far = quiet(sockets.server);
    // whoever has said all it wants to say still listens: Node would close a socket of ours at its first end
    near.allowHalfOpen = true;
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
      if (failure && whole) dismiss(failure);
      else near.destroy();
    };
    const cut = (why: Failure, who: End["by"] = "cut"): void => {
      if (failure || near.closed) return;
      by ??= who;
      failure = why;
      up.stop();
      after(boundaryMs, () => farewell(false));
      down.finish(farewell);
      if (far.closed) farewell(isWhole());
    };
    const { up, down, isWhole, said, dismiss, left } = open({
      near,
      far,
      cut: (why) => cut(why),
      by: () => by,
      failure: () => failure,
    });

    const finish = (): void => {
      if (!near.closed || !far.closed) return;
      clearTimeout(timer);
      live.ended.removeEventListener("abort", onAbort);
      left();
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
      if (failure) farewell(isWhole());
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
      // once more would be an error with its stack, which nobody reads
      if (!far.writableEnded) far.end();
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
