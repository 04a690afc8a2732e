// What an audit line says of a PostgreSQL session. On the way only bytes are checked and copied; words are made of them when
// the sink writes the line. Text that is not UTF-8 is given as Latin-1 and says so: no byte is lost. Passwords are taken out.
// https://www.postgresql.org/docs/18/protocol-message-formats.html
import { isUtf8 } from "node:buffer";
import type { Statement } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { type BindVisitor, bindWalker } from "./bind.ts";
import { errorFields } from "./message.ts";
import { mayHoldSecret, redactor } from "./redaction.ts";

/** A piece of a message that a relay is about to pass on: `first` and `last` when it is the only one. */
export type Observe = (type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean) => void;
export type Record = (statement: Statement) => void;

type Line = Readonly<{ [member: string]: unknown }>;

// what a record costs beside the bytes it holds
const overhead = 128;
const empty = Buffer.alloc(0);

const malformed = (message: string): Failure => new Failure("protocol", `malformed ${message} message`);

const copyOf = (bytes: Buffer, from: number, to: number): Buffer => {
  const copy = Buffer.allocUnsafe(to - from);
  bytes.copy(copy, 0, from, to);
  return copy;
};

/** How many bytes at the end begin a character that they don't finish. */
const unfinished = (bytes: Buffer): number => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needs > back ? back : 0;
  }
  return 0;
};

interface Decoded {
  readonly text: string;
  readonly encoding?: "latin1";
}
/** Pieces of one text in order. */
const decoder = () => {
  let carried: Buffer = empty;
  return (piece: Buffer, last: boolean): Decoded => {
    const whole = carried.length > 0 ? Buffer.concat([carried, piece]) : piece;
    const cut = last ? whole.length : whole.length - unfinished(whole);
    carried = whole.subarray(cut);
    const text = whole.subarray(0, cut);
    return isUtf8(text) ? { text: text.toString() } : { text: text.toString("latin1"), encoding: "latin1" };
  };
};

/** A whole SQL text as an audit line shows it. */
const wholeSql = (bytes: Buffer): Decoded => {
  const utf8 = isUtf8(bytes);
  const text = utf8 ? bytes.toString() : bytes.toString("latin1");
  const shown = mayHoldSecret(text) ? redactor()(text, true) : text;
  return utf8 ? { text: shown } : { text: shown, encoding: "latin1" };
};

/** SQL text in pieces as an audit line shows it. */
const sql = () => {
  const decode = decoder();
  const redact = redactor();
  return (piece: Buffer, last: boolean): Decoded => {
    const decoded = decode(piece, last);
    return { ...decoded, text: redact(decoded.text, last) };
  };
};

/** Bind's values in pieces: text, base64 for the binary format and for what is not UTF-8, null. */
const bindTeller = () => {
  const names: Buffer[][] = [[], []];
  let formats: Buffer = empty;
  let values: unknown[] = [];
  let index = -1; //        of the value we are at
  let within = false; //    has it begun and not ended?
  let open: Buffer[] = []; // what we have of it
  const isBinary = (): boolean => formats.length > 0 && formats[formats.length === 2 ? 1 : 2 * index + 1] === 1;
  const say = (ends: boolean): void => {
    const bytes = Buffer.concat(open);
    const cut = ends || isBinary() ? bytes.length : bytes.length - unfinished(bytes);
    const shown = bytes.subarray(0, cut);
    open = cut < bytes.length ? [bytes.subarray(cut)] : [];
    values.push(!isBinary() && isUtf8(shown) ? shown.toString() : { base64: shown.toString("base64") });
  };
  const visit: BindVisitor = {
    name: (which, bytes) => void names[which]?.push(bytes),
    formats: (bytes) => {
      formats = Buffer.concat([formats, bytes]);
    },
    value: (length) => {
      index++;
      within = length > 0;
      if (length < 0) values.push(null);
      else if (length === 0) say(true);
    },
    bytes: (bytes, ends) => {
      open.push(bytes);
      within = !ends;
      if (ends) say(true);
    },
  };
  const walk = bindWalker(visit);
  return (piece: Buffer): Line => {
    values = [];
    // which value the first one here is, and whether it began in the part before
    const at = within ? { from: index, continues: true } : index >= 0 ? { from: index + 1 } : {};
    walk.step(piece, 0, piece.length);
    if (open.length > 0) say(false);
    const [portal, statement] = names.map((name) => Buffer.concat(name).toString());
    return { type: "bind", portal, statement, ...at, values };
  };
};

const unnamedExecute: Statement = { size: overhead, line: () => ({ type: "execute", portal: "" }) };

const executeOf = (bytes: Buffer, from: number, to: number): Statement => {
  if (bytes.indexOf(0, from) !== to - 5) throw malformed("Execute");
  const rows = bytes.readInt32BE(to - 4);
  if (to - from === 5 && rows === 0) return unnamedExecute;
  const portal = copyOf(bytes, from, to - 5);
  const size = overhead + portal.length;
  return { size, line: () => ({ type: "execute", portal: portal.toString(), ...(rows > 0 ? { rows } : {}) }) };
};

/** What a client says. @throws Failure `protocol` at a message that can't be read */
export const observeClient = (record: Record): Observe => {
  const check = bindWalker();
  let part = 0;
  let more = false; //                 is there text to come?
  // what the parts of one message share; a message in one piece makes its own when its line is asked for
  let words: ReturnType<typeof sql> | undefined;
  let tell: ReturnType<typeof bindTeller> | undefined;

  /** A piece of a statement's text, `line` made of it later. */
  const piece = (kept: Buffer, last: boolean, line: () => Line): void => {
    const size = overhead + kept.length;
    const number = part++;
    if (number === 0 && last) record({ size, line });
    else record({ size, part: number, last, line });
  };

  const text = (
    type: string,
    name: Buffer | undefined,
    bytes: Buffer,
    from: number,
    to: number,
    last: boolean,
  ): void => {
    const kept = copyOf(bytes, from, to);
    const say = words;
    piece(kept, last, () => {
      const { text, encoding } = say ? say(kept, last) : wholeSql(kept);
      const line: { [member: string]: unknown } = { type };
      if (name) line["name"] = name.toString();
      line["text"] = text;
      if (encoding) line["encoding"] = encoding;
      return line;
    });
  };

  const query = (bytes: Buffer, from: number, to: number, last: boolean): void => {
    const end = bytes.indexOf(0, from);
    if (last ? end !== to - 1 : end >= 0 && end < to) throw malformed("Query");
    text("query", undefined, bytes, from, last ? to - 1 : to, last);
  };

  const parse = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (!first && !more) return; // the numbers of types, behind the text
    const named = first ? bytes.indexOf(0, from) : from - 1;
    if (first && (named < 0 || named >= to)) throw malformed("Parse");
    const found = bytes.indexOf(0, named + 1);
    more = found < 0 || found >= to;
    if (more && last) throw malformed("Parse");
    const end = more ? to : found;
    if (first && last && (end + 3 > to || to - end - 3 !== 4 * bytes.readUInt16BE(end + 1))) throw malformed("Parse");
    text("parse", first ? copyOf(bytes, from, named) : undefined, bytes, named + 1, end, !more);
  };

  const bind = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (first) check.reset();
    check.step(bytes, from, to);
    if (!check.named() || (last && !check.done())) throw malformed("Bind");
    const kept = copyOf(bytes, from, to);
    const say = tell;
    piece(kept, last, () => (say ?? bindTeller())(kept));
  };

  return (type, bytes, from, to, first, last) => {
    if (first) {
      part = 0;
      more = true;
      words = last ? undefined : sql();
      tell = last ? undefined : bindTeller();
    }
    if (type === 0x51) query(bytes, from, to, last);
    else if (type === 0x50) parse(bytes, from, to, first, last);
    else if (type === 0x42) bind(bytes, from, to, first, last);
    else if (type === 0x45) record(executeOf(bytes, from, to));
    else {
      if (to - from < 4) throw malformed("FunctionCall");
      const oid = bytes.readUInt32BE(from);
      record({ size: overhead, line: () => ({ type: "function", oid }) });
    }
  };
};

/** How many rows a tag speaks of: its last word, where that is a number. */
const rowsOf = (tag: string): { rows?: number } => {
  const found = / (\d+)$/.exec(tag)?.[1];
  return found === undefined ? {} : { rows: Number(found) };
};

/** What a server answers: command tags and errors, with how much was copied since the last one. */
export const observeServer =
  (record: Record, copied: () => number): Observe =>
  (type, bytes, from, to, _first, last) => {
    const kept = copyOf(bytes, from, to);
    const size = overhead + kept.length;
    const count = copied();
    const extra = count > 0 ? { copied: count } : {};
    if (type === 0x43) {
      if (!last || kept.indexOf(0) !== kept.length - 1) throw malformed("CommandComplete");
      const line = (): Line => {
        const tag = kept.toString("utf8", 0, kept.length - 1);
        return { type: "complete", tag, ...rowsOf(tag), ...extra };
      };
      record({ size, line });
    } else {
      const line = (): Line => {
        const { sqlState, message } = errorFields(kept);
        return { type: "error", sqlState, message, ...extra };
      };
      record({ size, line });
    }
  };

/** A copy that a session's end cut off. */
export const copyLeft = (count: number): Statement => ({
  size: overhead,
  line: () => ({ type: "copy", copied: count }),
});
