// A session's two directions, and how it ends: by COM_QUIT, by either side's close, or cut, with an error that says why where the
// client expects its next packet. What can't be understood ends it too: nothing is skipped. Commands that are not for the server
// are answered here, in their turn: when all that was asked before has been answered.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html

import { explainDenial } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import { dismiss } from "../bytes.ts";
import { type Directions, type Ending, relayUntilEnd } from "../ending.ts";
import { type Flow, startFlow } from "../flow.ts";
import type { End, Live, Socket } from "../protocol.ts";
import { openRecorder } from "../recorder.ts";
import type { MysqlServer } from "./client.ts";
import { type Local, openAsks } from "./command.ts";
import { errorPayload, errors, ok } from "./message.ts";
import { packets } from "./packet.ts";
import { openResults, readyStatus } from "./result.ts";
import { connectionKey, type MysqlClient, ownIds, queryKey } from "./server.ts";
import { openSession } from "./session.ts";
import { copyLeft, killStatement, observeClient, observeServer, refusedStatement } from "./statement.ts";

/** So many commands may wait for their answers before more are read. */
const mostWaiting = 1_024;

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

/** Both ways of one session, and what it answers itself. */
const lay = (
  client: MysqlClient,
  server: MysqlServer,
  live: Live,
  { near, far, cut, by, failure }: Ending,
): Directions => {
  const [outgoing, incoming] = [openRecorder(live), openRecorder(live)];
  const session = Object.assign(openSession(server.agreed, server.schema), readyStatus(server.ready));
  let whenIdle: (() => void) | undefined;
  let whenRoom: (() => void) | undefined;

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
    if (failure()) return;
    if ("kill" in local) {
      const { what, connection } = local.kill;
      await live.cancel(what === "query" ? queryKey(connection) : connectionKey(connection));
      if (failure()) return;
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
  const said = (): boolean => by() === "client" || asks.quit() || answers.erred();
  const up: Flow = startFlow({
    ...{ ...between, from: near, to: far, frames: asks, waits: outgoing.waits, room, broken: astray },
    ...{ lenient: false, over: () => true },
  });
  const down: Flow = startFlow({
    ...{ ...between, from: far, to: near, frames: answers, waits: incoming.waits, passed, broken: cut },
    ...{ lenient: true, over: said },
  });

  return {
    up,
    down,
    said,
    isWhole: () => !answers.inside(),
    dismiss: (why) => void dismiss(near, packets(errorPayload(why, codeOf(why)), answers.next())),
    left: () => {
      const count = copied();
      if (count === 0) return;
      try {
        outgoing.record(copyLeft(count));
      } catch {
        // the session is over; what could not be recorded can't be stopped any more
      }
    },
  };
};

export const relay = (client: MysqlClient, server: MysqlServer, live: Live): Promise<End> =>
  relayUntilEnd({ client: client.socket, server: server.socket }, live, (ending) => lay(client, server, live, ending));
