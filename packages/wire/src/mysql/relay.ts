// A session's two directions, and how it ends: by COM_QUIT, by either side's close, or cut, with an error that says why where the
// client expects its next packet. What can't be understood ends it too: nothing is skipped. Commands that are not for the server
// are answered here, in their turn: when all that was asked before has been answered.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html

import { explainDenial } from "@sallyport/core/access";
import type { Statement } from "@sallyport/core/audit";
import { Failure, toFailure } from "@sallyport/core/failure";
import { dismiss, quiet } from "../bytes.ts";
import { type Flow, startFlow } from "../flow.ts";
import type { End, Live, Socket } from "../protocol.ts";
import type { MysqlServer } from "./client.ts";
import { type Local, openAsks } from "./command.ts";
import { errorPayload, errors, ok } from "./message.ts";
import { packets } from "./packet.ts";
import { openResults, readyStatus } from "./result.ts";
import { connectionKey, type MysqlClient, ownIds, queryKey } from "./server.ts";
import { openSession } from "./session.ts";
import { copyLeft, killStatement, observeClient, observeServer, refusedStatement } from "./statement.ts";

// how long a cut waits for the current message, a closed side for the other, and a client's last bytes for the client
const boundaryMs = 1_000;
const closeMs = 5_000;
const deliverMs = 30_000;
/** So many commands may wait for their answers before more are read. */
const mostWaiting = 1_024;

const lost = (): Failure =>
  new Failure("upstream_unreachable", "the database closed the connection", {
    hint: "connect again; the database or its network may have failed",
  });

const unasked = (): Failure =>
  new Failure("denied", "the database asks for a file of the client's, which is not allowed", {
    hint: "LOAD DATA LOCAL needs the role option local_files: true, and a client that allows it",
  });

/** A drain that ends a live session is worded as the server itself would; 1053 is for those who are not in yet. */
const codeOf = ({ code }: Failure) => (code === "draining" ? { code: errors.ended } : {});

/** Words for a command that stays here, as the server would find them. */
const refusal = ({ refused, type }: { refused: string; type: number }): Buffer => {
  const known = !refused.startsWith("0x");
  const failure = new Failure(
    "unsupported",
    known ? `COM_${refused.toUpperCase()} is not allowed here` : "unknown command",
    {
      ...(type === 0x11 ? { hint: "open another connection as the other user, or use COM_RESET_CONNECTION" } : {}),
    },
  );
  return errorPayload(failure, known ? {} : { code: [1047, "08S01"] });
};

/** What is answered here goes no faster than it is read. */
const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => resolve();
    socket.once("drain", done).once("close", done);
    if (socket.destroyed || !socket.writableNeedDrain) done();
  });

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

export const relay = (client: MysqlClient, server: MysqlServer, live: Live): Promise<End> =>
  new Promise((resolve) => {
    const near = quiet(client.socket);
    const far = quiet(server.socket);
    // whoever has said all it wants to say still listens: Node would close a socket of ours at its first end
    near.allowHalfOpen = true;
    const [outgoing, incoming] = [recorder(live), recorder(live)];
    const session = Object.assign(openSession(server.agreed, server.schema), readyStatus(server.ready));
    let by: End["by"] | undefined;
    let failure: Failure | undefined;
    let timer: NodeJS.Timeout | undefined;
    let parted = false;
    let whenIdle: (() => void) | undefined;
    let whenRoom: (() => void) | undefined;

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
      if (failure && whole) void dismiss(near, packets(errorPayload(failure, codeOf(failure)), answers.next()));
      else near.destroy();
    };
    const cut = (why: Failure, who: End["by"] = "cut"): void => {
      if (failure || near.closed) return;
      by ??= who;
      failure = why;
      up.stop();
      after(boundaryMs, () => farewell(false));
      down.finish(farewell);
      if (far.closed) farewell(!answers.inside());
    };

    /** Resolves when every command before has its answer. */
    const idle = (): Promise<void> =>
      new Promise((then) => {
        whenIdle = then;
        passed();
      });
    /** A server answers one after the other: who asks faster than it answers would fill our memory with questions. */
    const room = (): Promise<void> | undefined =>
      session.waiting() < mostWaiting
        ? undefined
        : new Promise((then) => {
            whenRoom = then;
          });
    /** A packet that is out of its place between commands is found when a server has answered those: mysql2 sends an empty one behind 16 MiB. */
    const astray = (why: Failure): void => {
      if (!asks.strayed() || session.waiting() === 0) {
        cut(why);
        return;
      }
      up.stop();
      near.resume();
      void idle().then(() => cut(why));
    };
    const passed = (): void => {
      if (whenRoom && session.waiting() < mostWaiting / 2) {
        whenRoom();
        whenRoom = undefined;
      }
      if (!whenIdle || session.waiting() > 0 || answers.inside()) return;
      whenIdle();
      whenIdle = undefined;
    };
    const answer = async (local: Local, sequence: number): Promise<void> => {
      if ("refused" in local) outgoing.record(refusedStatement(local.refused));
      else outgoing.record(killStatement(local.kill.what, local.kill.connection));
      await Promise.all([idle(), ...(outgoing.waits() ?? [])]);
      if (failure) return;
      if ("kill" in local) {
        const { what, connection } = local.kill;
        await live.cancel(what === "query" ? queryKey(connection) : connectionKey(connection));
        if (failure) return;
      }
      if (!near.write(packets("refused" in local ? refusal(local) : ok(), sequence + 1))) await drained(near);
    };

    const copied = (): number => asks.copied();
    const fileAsked = (name: string, sequence: number): void => {
      const denied = live.guard({ use: "local_file" });
      if (!server.localFiles || denied)
        throw denied && server.localFiles ? new Failure("denied", explainDenial(denied)) : unasked();
      // what comes behind the question could be taken for the file
      if (session.waiting() > 1) throw new Failure("protocol", "a file is asked for while other commands wait");
      incomingTell.file(name);
      asks.expectFile(sequence);
    };
    const incomingTell = observeServer(incoming.record, copied);
    const asks = openAsks({
      session,
      observe: observeClient(outgoing.record, session),
      ownIds: client.connection !== undefined,
      isOurs: (id) => id >= ownIds,
      answer,
    });
    const answers = openResults({ session, tell: incomingTell, fileAsked });
    const between = { touch: () => live.touch() };
    /** Has somebody said that the session ends? A server that fails closes without a word. */
    const said = (): boolean => by === "client" || asks.quit() || answers.erred();
    const up: Flow = startFlow({
      ...{ ...between, from: near, to: far, frames: asks, waits: outgoing.waits, room, broken: astray },
      ...{ lenient: false, over: () => true },
    });
    const down: Flow = startFlow({
      ...{ ...between, from: far, to: near, frames: answers, waits: incoming.waits, passed, broken: (why) => cut(why) },
      ...{ lenient: true, over: said },
    });

    const recordRest = (): void => {
      const count = copied();
      if (count === 0) return;
      try {
        outgoing.record(copyLeft(count));
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
      if (failure) farewell(!answers.inside());
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
