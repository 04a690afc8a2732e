// A session's two directions, and how it ends: by either side's close, or cut, with an error that says why as the answer to what the
// client waits for, or to the next thing that it asks. What can't be understood ends it too: nothing is skipped. Commands that are
// not for the server are answered here, in their turn.
// https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/

import type { Failure } from "@sallyport/core/failure";
import { dismiss } from "../bytes.ts";
import { boundaryMs, type Directions, type Ending, relayUntilEnd } from "../ending.ts";
import { startFlow } from "../flow.ts";
import type { End, Live, Socket } from "../protocol.ts";
import { openRecorder } from "../recorder.ts";
import type { MongodbServer } from "./client.ts";
import { type Local, openAsks } from "./command.ts";
import { answerMonitor } from "./hello.ts";
import { type Asker, answer, errorDocument, errors, headerSize, message, opcodes } from "./message.ts";
import { openResults } from "./result.ts";
import { ruleOn } from "./rule.ts";
import type { MongodbClient } from "./server.ts";
import { openPending } from "./session.ts";
import { answeredStatement, outcomeStatement, refusedStatement, tellCommand } from "./statement.ts";

/** Drivers take these codes for a server that goes away: they leave its other connections, and try again what may be tried again. */
const codeOf = ({ code }: Failure) => (code === "upstream_unreachable" ? { code: errors.draining } : {});

/** The next thing that a client asks, for as long as is worth waiting: there is no other way to tell it anything. */
const nextAsker = (near: Socket, waitMs: number): Promise<Asker | undefined> =>
  new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const done = (asker?: Asker): void => {
      clearTimeout(timer);
      near.off("data", onData).off("close", onClose).off("end", onClose);
      resolve(asker);
    };
    const onClose = (): void => done();
    const onData = (chunk: Buffer): void => {
      pieces.push(chunk);
      const head = Buffer.concat(pieces);
      if (head.length < headerSize) return;
      const opcode = head.readInt32LE(12);
      done(opcode === opcodes.msg || opcode === opcodes.query ? { requestId: head.readInt32LE(4), opcode } : undefined);
    };
    const timer = setTimeout(done, waitMs);
    near.on("data", onData).once("close", onClose).once("end", onClose);
    near.resume();
  });

/** Both ways of one session, and what it answers itself. */
const lay = (server: MongodbServer, live: Live, { near, far, cut, by, failure }: Ending): Directions => {
  const [outgoing, incoming] = [openRecorder(live), openRecorder(live)];
  const { cursors } = server;
  const pending = openPending();
  let whenIdle: (() => void) | undefined;

  /** Words for whoever waits for an answer, or for the next that asks. */
  const sayWhy = async (why: Failure): Promise<void> => {
    const waiting = pending.first() ?? asks.asker();
    const goesOn = answers.goesOn();
    const words = errorDocument(why, codeOf(why));
    if (goesOn !== undefined) return dismiss(near, message(words, { responseTo: goesOn }));
    // a client that is between two messages; in the middle of one the rest of it could be taken for the next
    const patient = by() === "cut" && why.code !== "protocol" && why.code !== "too_large" && !asks.inside();
    const asker = waiting ?? (patient ? await nextAsker(near, boundaryMs) : undefined);
    return dismiss(near, asker && answer(asker, words));
  };
  /** Resolves when every command before has its answer. */
  const idle = (): Promise<void> =>
    new Promise((then) => {
      whenIdle = then;
      passed();
    });
  const passed = (): void => {
    if (!whenIdle || pending.count() > 0 || answers.inside()) return;
    whenIdle();
    whenIdle = undefined;
  };
  const answerHere = async ({ asker, ruling, request, body, silent }: Local): Promise<void> => {
    const refused = ruling === "hello" ? undefined : ruling;
    outgoing.record(refused ? refusedStatement(request, refused.why) : answeredStatement(request));
    await Promise.all([idle(), ...(outgoing.waits() ?? [])]);
    if (failure() || silent) return;
    if (refused) near.write(answer(asker, refused.refused));
    else near.write(answerMonitor({ ...asker, ...request, moreToCome: silent, body }, server.limits));
  };

  const asks = openAsks({
    pending,
    tell: tellCommand(outgoing.record),
    rule: (command) => ruleOn(command, { guard: live.guard, cursors }),
    answer: answerHere,
  });
  const answers = openResults({
    pending,
    tell: (outcome) => incoming.record(outcomeStatement(outcome)),
    opened: cursors.opened,
    closed: cursors.closed,
  });
  const between = { touch: () => live.touch(), broken: cut };
  // a server says nothing when it goes: unless the client has gone before it
  const said = (): boolean => by() === "client";
  return {
    up: startFlow({
      ...{ ...between, from: near, to: far, frames: asks, waits: outgoing.waits },
      ...{ lenient: false, over: () => true },
    }),
    down: startFlow({
      ...{ ...between, from: far, to: near, frames: answers, waits: incoming.waits, passed },
      ...{ lenient: true, over: said },
    }),
    said,
    isWhole: () => !answers.inside(),
    dismiss: (why) => void sayWhy(why),
    left: cursors.leave,
  };
};

export const relay = (client: MongodbClient, server: MongodbServer, live: Live): Promise<End> =>
  relayUntilEnd({ client: client.socket, server: server.socket }, live, (ending) => lay(server, live, ending));
