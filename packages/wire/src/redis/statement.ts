// What an audit line says of a command and of its answer: the name and the keys whole, other arguments to 256 bytes and then how
// long they are; of an answer only an error. What logs somebody in is told by the user alone, and of what is refused no argument.
import { isUtf8 } from "node:buffer";
import { partSize, type Statement } from "@sallyport/core/audit";
import { json, type Line } from "@sallyport/core/line";
import { jsonText, sayText } from "../json.ts";
import { unfinished } from "../text.ts";
import type { Command } from "./command.ts";
import type { Words } from "./word.ts";

export type Record = (statement: Statement) => void;

/** Of an argument that is no key so much is told. */
export const keptBytes = 256;
const overhead = 128;
const longestName = 64;

const openings = {
  ...{ command: json(',"type":"command","command":'), refused: json(',"type":"refused","command":') },
  ...{ error: json(',"type":"error","command":'), answered: json(',"answered":true'), user: json(',"user":') },
  ...{ args: json(',"args":['), first: json(""), next: json(","), close: json("]"), text: json(',"text":') },
  ...{ cut: json('{"text":'), binary: json('{"base64":'), bytes: json(',"bytes":'), end: json("}") },
};

/** Names come again and again. */
const worded = new Map<string, Uint8Array>();
const wordName = (text: string): Uint8Array => {
  const found = worded.get(text);
  if (found) return found;
  const made = jsonText(text);
  if (worded.size < 1_000 && text.length <= longestName) worded.set(text, made);
  return made;
};

/** A value of `bytes`, of which `from` to `to` is shown and which is `length` long in all. */
const sayValue = (line: Line, before: Uint8Array, bytes: Buffer, from: number, to: number, length: number): void => {
  const whole = length === to - from;
  if (whole && line.text(before, bytes, from, to)) return;
  line.fixed(before);
  if (!whole && line.text(openings.cut, bytes, from, to)) sayLength(line, length);
  else sayOther(line, bytes, from, to, length);
};
const sayLength = (line: Line, length: number): void => {
  line.number(openings.bytes, length);
  line.fixed(openings.end);
};
/** What is not plain: as UTF-8 where it is that, else in base64. */
const sayOther = (line: Line, bytes: Buffer, from: number, to: number, length: number): void => {
  const shown = bytes.subarray(from, to);
  const whole = length === shown.length ? shown : shown.subarray(0, shown.length - unfinished(shown));
  if (!isUtf8(whole)) {
    line.fixed(openings.binary);
    line.fixed(jsonText(shown.toString("base64")));
  } else if (length === shown.length) {
    sayText(line, openings.first, whole, 0, whole.length);
    return;
  } else sayText(line, openings.cut, whole, 0, whole.length);
  if (length === shown.length) line.fixed(openings.end);
  else sayLength(line, length);
};

/** Is this argument a key? Most often that follows from its place. */
export const isKeyAt = ({ first, last, step }: Command, total: number, at: number): boolean =>
  first > 0 && at >= first && at <= (last < 0 ? total + last : last) && (at - first) % step === 0;
const isKey = (command: Command | undefined, words: Words, at: number): boolean => {
  if (!command?.find) return command !== undefined && isKeyAt(command, words.count, at);
  return command.find(words).includes(at);
};

/** Arguments from `first` on, those that are there. Which are keys is asked only where it makes a difference. */
const sayArguments = (line: Line, command: Command | undefined, words: Words, first: number): void => {
  const { bytes, starts, ends, count } = words;
  for (let at = first; at < count; at++) {
    const from = starts[at] ?? 0;
    const to = ends[at] ?? 0;
    const before = at === first ? openings.first : openings.next;
    const shown = to - from > keptBytes && !isKey(command, words, at) ? from + keptBytes : to;
    sayValue(line, before, bytes, from, shown, to - from);
  }
};
const sayName = (line: Line, opening: Uint8Array, words: Words): void => {
  const [from = 0, to = 0] = [words.starts[0], words.ends[0]];
  sayValue(line, opening, words.bytes, from, Math.min(to, from + longestName), to - from);
};

/** How a command is told besides what it says. */
interface Manner {
  readonly user?: string | undefined;
  readonly answered?: boolean;
}
const usual: Manner = {};
const sayUser = (line: Line, { user }: Manner): void => {
  if (user === undefined) return;
  line.fixed(openings.user);
  line.fixed(wordName(user));
};
export const lengthOf = ({ starts, ends, count }: Words): number => (ends[count - 1] ?? 0) - (starts[0] ?? 0);

/**
 * Commands that are there in full. It is the same statement each time: it is worded before the next one is made, and there may be
 * a million a second.
 */
export const openTelling = (): ((command: Command | undefined, words: Words, manner?: Manner) => Statement) => {
  let command: Command | undefined;
  let words: Words;
  let manner = usual;
  const statement = {
    size: 0,
    say: (line: Line): void => {
      sayName(line, openings.command, words);
      sayUser(line, manner);
      if (words.count > 1) {
        line.fixed(openings.args);
        sayArguments(line, command, words, 1);
        line.fixed(openings.close);
      }
      if (manner.answered) line.fixed(openings.answered);
    },
  };
  return (nextCommand, nextWords, nextManner = usual) => {
    command = nextCommand;
    words = nextWords;
    manner = nextManner;
    statement.size = overhead + Math.min(partSize, lengthOf(words));
    return statement;
  };
};

/** A login inside the session: whose, and by whom it was done. */
export const loginStatement = (name: string, user: string, answered: boolean): Statement => ({
  size: overhead + user.length,
  say: (line) => {
    line.fixed(openings.command);
    line.fixed(wordName(name));
    line.fixed(openings.user);
    line.fixed(jsonText(user));
    if (answered) line.fixed(openings.answered);
  },
});
/** A command that goes no further, and why. */
export const refusedStatement = (name: string, why: string, manner: Manner): Statement => ({
  size: overhead + why.length,
  say: (line) => {
    line.fixed(openings.refused);
    line.fixed(wordName(name));
    sayUser(line, manner);
    line.members({ reason: why });
  },
});
/** An error that the database answered with. */
export const errorStatement = (name: string, text: Buffer, manner: Manner): Statement => ({
  size: overhead + text.length,
  say: (line) => {
    line.fixed(openings.error);
    line.fixed(wordName(name));
    sayUser(line, manner);
    sayText(line, openings.text, text, 0, text.length);
  },
});

/** An argument of a command that comes in pieces: its beginning, and how long it is. */
export interface Piece {
  readonly shown: Buffer;
  readonly length: number;
}
/** A part of a long command: the first has its name, and whose it is. */
export const partStatement = (
  words: Words | undefined,
  pieces: readonly Piece[],
  part: number,
  last: boolean,
  manner = usual,
): Statement => ({
  size: overhead + pieces.reduce((sum, { shown }) => sum + shown.length + 16, 0),
  part,
  last,
  say: (line) => {
    if (words) sayName(line, openings.command, words);
    if (words) sayUser(line, manner);
    line.fixed(openings.args);
    pieces.forEach(({ shown, length }, at) => {
      sayValue(line, at === 0 ? openings.first : openings.next, shown, 0, shown.length, length);
    });
    line.fixed(openings.close);
  },
});
