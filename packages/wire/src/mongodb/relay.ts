// A session's two directions, and how it ends: by either side's close, or cut, with an error that says why as the answer to what the
// client waits for, or to the next thing that it asks. What can't be understood ends it too: nothing is skipped. Commands that are
// not for the server are answered here, in their turn.
// https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/

import type { Statement } from "@sallyport/core/audit";
import { Failure, toFailure } from "@sallyport/core/failure";
import { dismiss, quiet } from "../bytes.ts";
import { type Flow, startFlow } from "../flow.ts";
import type { End, Live, Socket } from "../protocol.ts";
import type { MongodbServer } from "./client.ts";
import { type Local, openAsks } from "./command.ts";
import { answerMonitor } from "./hello.ts";
import { type Asker, answer, errorDocument, errors, headerSize, message, opcodes } from "./message.ts";
import { openResults } from "./result.ts";
import { ruleOn } from "./rule.ts";
import type { MongodbClient } from "./server.ts";
import { openPending } from "./session.ts";
import { answeredStatement, outcomeStatement, refusedStatement, tellCommand } from "./statement.ts";

// how long a cut waits for the current message and for a next question, a closed side for the other, and a client's last bytes
const boundaryMs = 1_000;
const closeMs = 5_000;
const deliverMs = 30_000;

const lost = (): Failure =>
  new Failure("upstream_unreachable", "the database closed the connection", {
    hint: "connect again; the database or its network may have failed",
  });

/** Drivers take these codes for a server that goes away: they leave its other connections, and try again what may be tried again. */
const codeOf = ({ code }: Failure) => (code === "upstream_unreachable" ? { code: errors.draining } : {});

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

export const relay = (client: MongodbClient, server: MongodbServer, live: Live): Promise<End> =>
  new Promise((resolve) => {
    const near = quiet(client.socket);
    const far = quiet(server.socket);
    // whoever has said all it wants to say still listens: Node would close a socket of ours at its first end
    near.allowHalfOpen = true;
    const [outgoing, incoming] = [recorder(live), recorder(live)];
    const pending = openPending();
    let by: End["by"] | undefined;
    let failure: Failure | undefined;
    let timer: NodeJS.Timeout | undefined;
    let parted = false;
    let whenIdle: (() => void) | undefined;

    const after = (ms: number, act: () => void): void => {
      clearTimeout(timer);
      timer = setTimeout(act, ms);
    };

    /** Words for whoever waits for an answer, or for the next that asks. */
    const sayWhy = async (why: Failure): Promise<void> => {
      const waiting = pending.first() ?? asks.asker();
      const goesOn = answers.goesOn();
      const words = errorDocument(why, codeOf(why));
      if (goesOn !== undefined) return dismiss(near, message(words, { responseTo: goesOn }));
      // a client that is between two messages; in the middle of one the rest of it could be taken for the next
      const patient = by === "cut" && why.code !== "protocol" && why.code !== "too_large" && !asks.inside();
      const asker = waiting ?? (patient ? await nextAsker(near, boundaryMs) : undefined);
      return dismiss(near, asker && answer(asker, words));
    };
    /** Nothing goes to the database any more; the client is told why, unless it is inside a message. */
    const farewell = (whole: boolean): void => {
      if (parted) return;
      parted = true;
      clearTimeout(timer);
      down.stop();
      far.destroy();
      if (failure && whole) void sayWhy(failure);
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
    const passed = (): void => {
      if (!whenIdle || pending.count() > 0 || answers.inside()) return;
      whenIdle();
      whenIdle = undefined;
    };
    const answerHere = async ({ asker, ruling, request, body, silent }: Local): Promise<void> => {
      const refused = ruling === "hello" ? undefined : ruling;
      outgoing.record(refused ? refusedStatement(request, refused.why) : answeredStatement(request));
      await Promise.all([idle(), ...(outgoing.waits() ?? [])]);
      if (failure || silent) return;
      if (refused) near.write(answer(asker, refused.refused));
      else near.write(answerMonitor({ ...asker, ...request, moreToCome: silent, body }, server.limits));
    };

    const { cursors } = server;
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
    const up: Flow = startFlow({
      ...{ ...between, from: near, to: far, frames: asks, waits: outgoing.waits },
      ...{ lenient: false, over: () => true },
    });
    const down: Flow = startFlow({
      ...{ ...between, from: far, to: near, frames: answers, waits: incoming.waits, passed },
      ...{ lenient: true, over: () => by === "client" },
    });

    const finish = (): void => {
      if (!near.closed || !far.closed) return;
      clearTimeout(timer);
      live.ended.removeEventListener("abort", onAbort);
      cursors.leave();
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
      // a server says nothing when it goes: unless the client has gone before it
      if (by !== "client") cut(lost(), "server");
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
