// What a client says in a session, command by command: what passes goes on as the bytes that came, a run of them at once; what is
// answered here has its place among the answers; what needs something else to be said goes out of the run and is done in its turn.
// Nothing passes before it was ruled on and told. What is not understood ends the session.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import type { Frames } from "../flow.ts";
import { type Command, findCommand } from "./command.ts";
import type { Deed } from "./deed.ts";
import { isArray, lineEnd, openReader, protocolError } from "./frame.ts";
import { longFrom } from "./lane.ts";
import { keptOf, type Long, openLong } from "./long.ts";
import { inlineCommand } from "./message.ts";
import { type Judges, type Known, know, type Ruling, ruleOn, takeReply } from "./rule.ts";
import { type Expected, otherThan, type Pending } from "./session.ts";
import {
  lengthOf,
  loginStatement,
  openTelling,
  type Piece,
  partStatement,
  type Record,
  refusedStatement,
} from "./statement.ts";
import type { Words } from "./word.ts";

export interface RequestOptions {
  readonly judges: Judges;
  readonly pending: Pending;
  readonly record: Record;
  /** Answers in the place of a command: when all before it are answered. */
  say(expected: Expected): void;
  /** Resolves when what comes behind may go on; undefined when it may at once. */
  act(deed: Deed): Promise<void> | undefined;
}
export interface Requests extends Frames {
  /** QUIT was said: what comes behind it is nobody's. */
  quit(): boolean;
}

/** A long command's arguments are told as soon as so much of them is kept. */
const tellFrom = partSize / 2;

export const openRequests = ({ judges, pending, record, say, act }: RequestOptions): Requests => {
  const { state, user } = judges;
  const reader = openReader();
  const { reading } = reader;
  const telling = openTelling();
  let need = 1;
  let edge = 0;
  let dropped = false;
  let held: Promise<void> | undefined;
  let leaving = false;
  let long: Long | undefined; // the rest of a command that passes, or stays, in pieces
  let staying = false; //        does it stay?

  const whose = (): { readonly user?: string } => otherThan(user, state);

  /** What is not the bytes that came: done when those before it have gone. */
  const carryOut = (deed: Deed, name: string): void => {
    if (deed.does === "login") record(loginStatement(name, deed.as, deed.password === undefined));
    leaving ||= deed.does === "quit";
    held = act(deed);
  };
  /** Judged by all that it says; true when it passes as it is. */
  const judge = (ruling: Ruling, entry: Known, words: Words, rewritten?: Buffer): boolean => {
    const { expected } = entry;
    if (ruling.does === "say") {
      record(
        ruling.why === undefined
          ? entry.treatment === "auth" || entry.treatment === "hello"
            ? loginStatement(expected.name, user, true)
            : telling(entry.command, words, { answered: true })
          : refusedStatement(expected.name, ruling.why, whose()),
      );
      if (ruling.answer && takeReply(judges)) say({ name: expected.name, say: ruling.answer });
      return false;
    }
    if (ruling.does === "pass") {
      if (words === reading && lengthOf(words) > longFrom) tellLong(entry.command);
      else record(telling(entry.command, words, whose()));
      if (!rewritten) {
        pending.expect(ruling.expected);
        return true;
      }
      carryOut({ does: "instead", bytes: rewritten, expected: ruling.expected }, expected.name);
      return false;
    }
    if (ruling.does === "instead")
      record(
        entry.treatment === "hello"
          ? loginStatement(expected.name, user, true)
          : telling(entry.command, words, whose()),
      );
    if (ruling.does === "quit" || ruling.does === "reset") record(telling(entry.command, words, whose()));
    carryOut(ruling, expected.name);
    return false;
  };

  /** Begins a command whose beginning alone is at hand. */
  const beginLong = (): void => {
    const { total, open, place, bytes, count } = reading;
    const entry = know(findCommand(reading));
    // of a container the subcommand is part of the name
    if (count === 0 || (count === 1 && entry.command?.subcommands))
      throw new Failure("too_large", "a command with a name that long");
    const { treatment, command, expected } = entry;
    if (treatment !== "plain" && treatment !== "refused" && treatment !== "script" && !treatment.endsWith("subscribe"))
      throw new Failure("too_large", `${expected.name} that long`);
    const ruling = ruleOn(judges, reading, entry, total);
    staying = ruling.does !== "pass";
    if (ruling.does === "say") judge(ruling, entry, reading);
    else if (ruling.does === "pass") pending.expect(ruling.expected);
    const tell = staying ? undefined : tellLong(command);
    let left = total - count;
    long = openLong({
      left,
      open,
      kept: staying ? () => 0 : keptOf(command, total),
      argument: (piece) => {
        left--;
        tell?.(piece, left === 0);
      },
    });
    reader.forget();
    // of the open argument what has come is read with the rest
    if (long.next(bytes, place) >= 0) throw new Error("a long command ended where it began");
  };
  /** The parts of a long command, those of its arguments that are at hand first. */
  const tellLong = (command: Command | undefined) => {
    const { bytes, starts, ends, count, total } = reading;
    const kept = keptOf(command, total);
    const name = Buffer.from(bytes.subarray(starts[0], ends[0]));
    let named: Words | undefined = { bytes: name, starts: [0], ends: [name.length], count: 1 };
    let pieces: Piece[] = [];
    let size = 0;
    let part = 0;
    const tell = (last: boolean): void => {
      record(partStatement(named, pieces, part++, last, whose()));
      named = undefined;
      pieces = [];
      size = 0;
    };
    const add = (piece: Piece, last: boolean): void => {
      pieces.push(piece);
      size += piece.shown.length + 16;
      if (last || size >= tellFrom) tell(last);
    };
    for (let at = 1; at < count; at++) {
      const [from = 0, to = 0] = [starts[at], ends[at]];
      const shown = Buffer.from(bytes.subarray(from, Math.min(to, from + kept(total - at))));
      add({ shown, length: to - from }, at === total - 1);
    }
    // nothing goes on before something is told of it
    if (part === 0) tell(false);
    return add;
  };

  /** The command that begins at `at`, alone. Where it ends; `at` when it is not all there. */
  const inline = (bytes: Buffer, at: number): number => {
    const end = lineEnd(bytes, at);
    if (end < 0) {
      need = bytes.length - at + 1;
      return at;
    }
    dropped = true;
    const made = inlineCommand(bytes.subarray(at, end - 1));
    if (!made) return end;
    const own = openReader();
    if (own.read(made, 0) < 0) throw protocolError("unbalanced quotes in request");
    const entry = know(findCommand(own.reading));
    judge(ruleOn(judges, own.reading, entry, own.reading.total), entry, own.reading, made);
    return end;
  };

  const scan = (bytes: Buffer, from: number): number => {
    dropped = false;
    held = undefined;
    edge = from;
    let at = from;
    if (long) {
      dropped = staying;
      const end = long.next(bytes, at);
      if (end < 0) return bytes.length;
      long = undefined;
      edge = end;
      at = end;
      if (staying) return at;
    }
    while (at < bytes.length) {
      if (leaving) {
        dropped = at === from;
        return dropped ? bytes.length : at;
      }
      if (!isArray(bytes[at])) return at > from ? at : inline(bytes, at);
      const end = reader.read(bytes, at);
      if (end < 0) {
        need = Math.min(reader.need(), longFrom);
        if (bytes.length - at < longFrom || at > from) return at;
        beginLong();
        dropped = staying;
        return bytes.length;
      }
      if (reading.total === 0) {
        if (at > from) return at;
        dropped = true;
        return end;
      }
      const entry = know(findCommand(reading));
      const plain = entry.treatment === "plain" && state.replies === "on" && state.as === user;
      if (plain && end - at <= longFrom) {
        record(telling(entry.command, reading));
        pending.expect(entry.expected);
      } else {
        // what is before it goes first
        if (at > from) return at;
        if (!judge(ruleOn(judges, reading, entry, reading.total), entry, reading)) {
          dropped = true;
          return end;
        }
      }
      at = end;
      edge = at;
    }
    return at;
  };

  return {
    scan,
    need: () => need,
    inside: () => long !== undefined,
    edge: () => edge,
    dropped: () => dropped,
    hold: () => held,
    quit: () => leaving,
  };
};
