// What an audit line says of a PostgreSQL session. What is plain goes from the relay's bytes into the line's; text that is not
// UTF-8 is given as Latin-1 and says so: no byte is lost. Passwords are taken out. A Parse, a Bind and an Execute that come together
// and go together are one line.
// https://www.postgresql.org/docs/18/protocol-message-formats.html
import type { Statement } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { json, type Line } from "@sallyport/core/line";
import {
  bindStatement,
  executedStatement,
  executeStatement,
  isSameName,
  overhead,
  place,
  put,
  textStatement,
  zeroAt,
} from "./asked.ts";
import { bindWalker } from "./bind.ts";
import { errorFields } from "./message.ts";
import { bindTeller, sql } from "./telling.ts";

export interface Observe {
  /** A piece of a message that a relay is about to pass on: `first` and `last` when it is the only one. */
  (type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void;
  /** These bytes have no more messages: what was not told yet, because more could belong to it, is told now. */
  settle?(): void;
}
export type Record = (statement: Statement) => void;

type Members = Readonly<{ [member: string]: unknown }>;

const opening = {
  ...{ complete: json(',"type":"complete"'), tag: json(',"tag":'), rows: json(',"rows":'), copied: json(',"copied":') },
};

const malformed = (message: string): Failure => new Failure("protocol", `malformed ${message} message`);

/** What a client says. @throws Failure `protocol` at a message that can't be read */
export const observeClient = (record: Record): Observe => {
  const check = bindWalker();
  const [at, parsed, bound] = [place(), place(), place()];
  const whole = { query: textStatement("query", at), parse: textStatement("parse", parsed) };
  const [wholeBind, execute, executed] = [bindStatement(bound), executeStatement(at), executedStatement(bound, parsed)];
  // not told yet: an Execute may belong to them
  let [holdsParse, holdsBind] = [false, false];
  let part = 0;
  let more = false; //                 is there text to come?
  // what the parts of one message share
  let words: ReturnType<typeof sql> | undefined;
  let tell: ReturnType<typeof bindTeller> | undefined;

  /** A piece of a statement that comes in several. */
  const piece = (length: number, last: boolean, said: () => Members): void => {
    const statement = { size: overhead + length, say: (line: Line) => line.members(said()) };
    const number = part++;
    // a text may end in the first piece, and what follows it in the message is not told
    record(number === 0 && last ? statement : { ...statement, part: number, last });
  };

  const text = (type: "query" | "parse", bytes: Buffer, from: number, to: number, last: boolean): void => {
    const { hasName, nameFrom, nameTo } = whole[type];
    const say = words ?? sql();
    const name = hasName ? { name: bytes.toString("utf8", nameFrom, nameTo) } : {};
    piece(to - from, last, () => ({ type, ...name, ...say(bytes.subarray(from, to), last) }));
  };
  const settle = (): void => {
    if (holdsParse) {
      holdsParse = false;
      record(whole.parse);
    }
    if (holdsBind) {
      holdsBind = false;
      record(wholeBind);
    }
  };

  const query = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    const end = bytes.indexOf(0, from);
    if (last ? end !== to - 1 : end >= 0 && end < to) throw malformed("Query");
    if (first && last) {
      put(at, bytes, from, to - 1);
      whole.query.size = at.size;
      record(whole.query);
    } else text("query", bytes, from, last ? to - 1 : to, last);
  };

  const parse = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (!first && !more) return; // the numbers of types, behind the text
    const named = first ? zeroAt(bytes, from) : from - 1;
    if (first && named >= to) throw malformed("Parse");
    const found = bytes.indexOf(0, named + 1);
    more = found < 0 || found >= to;
    if (more && last) throw malformed("Parse");
    const end = more ? to : found;
    if (first && last && (end + 3 > to || to - end - 3 !== 4 * bytes.readUInt16BE(end + 1))) throw malformed("Parse");
    whole.parse.hasName = first;
    whole.parse.nameFrom = from;
    whole.parse.nameTo = named;
    if (first && last) {
      put(parsed, bytes, named + 1, end);
      whole.parse.size = parsed.size;
      holdsParse = true;
    } else text("parse", bytes, named + 1, end, !more);
  };

  /** Is the Bind at `from` one of the statement that was parsed just before it? */
  const bindsParsed = (bytes: Buffer, from: number): boolean => {
    const { nameFrom, nameTo } = whole.parse;
    return isSameName(bytes, nameFrom, nameTo, zeroAt(bytes, from) + 1);
  };
  const bind = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (first) check.reset();
    check.step(bytes, from, to);
    if (!check.named() || (last && !check.done())) throw malformed("Bind");
    const fits = first && last && holdsParse && !holdsBind && bindsParsed(bytes, from);
    if (first && !fits) settle();
    if (first && last) {
      put(bound, bytes, from, to);
      wholeBind.size = bound.size;
      holdsBind = true;
      return;
    }
    const say = tell ?? bindTeller();
    piece(to - from, last, () => say(bytes.subarray(from, to)));
  };

  const observe: Observe = (type, bytes, from, to, first, last) => {
    if (first) {
      // what these have before them can't belong to them
      if (type === 0x51 || type === 0x50) settle();
      part = 0;
      more = true;
      words = last ? undefined : sql();
      tell = last ? undefined : bindTeller();
    }
    if (type === 0x51) query(bytes, from, to, first, last);
    else if (type === 0x50) parse(bytes, from, to, first, last);
    else if (type === 0x42) bind(bytes, from, to, first, last);
    else if (type === 0x45) {
      if (zeroAt(bytes, from) !== to - 5) throw malformed("Execute");
      if (holdsBind && bytes.readInt32BE(to - 4) === 0 && isSameName(bytes, from, to - 5, bound.from)) {
        executed.hasText = holdsParse;
        executed.size = holdsParse ? bound.size + parsed.size : bound.size;
        holdsParse = false;
        holdsBind = false;
        record(executed);
        return;
      }
      settle();
      put(at, bytes, from, to);
      execute.size = at.size;
      record(execute);
    } else {
      settle();
      if (to - from < 4) throw malformed("FunctionCall");
      const oid = bytes.readUInt32BE(from);
      record({ size: overhead, say: (line) => line.members({ type: "function", oid }) });
    }
  };
  observe.settle = settle;
  return observe;
};

/** Where a tag's last word begins, when that is a number of rows; else its end. */
const rowsAt = (bytes: Buffer, from: number, to: number): number => {
  let at = to;
  for (; at > from; at--) {
    const digit = (bytes[at - 1] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
  }
  return at > from && at < to && bytes[at - 1] === 0x20 && to - at <= 9 ? at : to;
};
const numberAt = (bytes: Buffer, from: number, to: number): number => {
  let number = 0;
  for (let at = from; at < to; at++) number = 10 * number + (bytes[at] ?? 0x30) - 0x30;
  return number;
};

/** A command's tag, and how many rows it speaks of. */
const completeStatement = () => {
  const at = place();
  const statement = {
    ...{ at, size: 0, copied: 0 },
    say: (line: Line): void => {
      const { bytes, from, to } = at;
      line.fixed(opening.complete);
      if (!line.text(opening.tag, bytes, from, to)) line.members({ tag: bytes.toString("utf8", from, to) });
      const rows = rowsAt(bytes, from, to);
      if (rows < to) line.number(opening.rows, numberAt(bytes, rows, to));
      if (statement.copied > 0) line.number(opening.copied, statement.copied);
    },
  };
  return statement;
};

/** What a server answers: command tags and errors, with how much was copied since the last one. */
export const observeServer = (record: Record, copied: () => number): Observe => {
  const complete = completeStatement();
  return (type, bytes, from, to, _first, last) => {
    const count = copied();
    if (type === 0x43) {
      if (!last || zeroAt(bytes, from) !== to - 1) throw malformed("CommandComplete");
      put(complete.at, bytes, from, to - 1);
      complete.size = complete.at.size;
      complete.copied = count;
      record(complete);
    } else {
      const said = (): Members => {
        const { sqlState, message } = errorFields(bytes.subarray(from, to));
        return { type: "error", sqlState, message, ...(count > 0 ? { copied: count } : {}) };
      };
      record({ size: overhead + to - from, say: (line) => line.members(said()) });
    }
  };
};

/** A copy that a session's end cut off. */
export const copyLeft = (count: number): Statement => ({
  size: overhead,
  say: (line) => line.members({ type: "copy", copied: count }),
});
