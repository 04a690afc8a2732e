// The words of what is not plain: SQL text and the values of a Bind, whole or in parts, with their characters made whole across
// parts and their passwords taken out. What is told in a later part is a copy: the bytes are the relay's.
import { isUtf8 } from "node:buffer";
import { type BindVisitor, bindWalker } from "./bind.ts";
import { mayHoldSecret, redactor } from "./redaction.ts";

type Members = Readonly<{ [member: string]: unknown }>;

const empty: Buffer = Buffer.alloc(0);

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
    carried = Buffer.from(whole.subarray(cut));
    const text = whole.subarray(0, cut);
    return isUtf8(text) ? { text: text.toString() } : { text: text.toString("latin1"), encoding: "latin1" };
  };
};

/** A whole SQL text as an audit line shows it. */
export const wholeSql = (bytes: Buffer): Decoded => {
  const utf8 = isUtf8(bytes);
  const text = utf8 ? bytes.toString() : bytes.toString("latin1");
  const shown = mayHoldSecret(text) ? redactor()(text, true) : text;
  return utf8 ? { text: shown } : { text: shown, encoding: "latin1" };
};

/** SQL text in pieces as an audit line shows it. */
export const sql = () => {
  const decode = decoder();
  const redact = redactor();
  return (piece: Buffer, last: boolean): Decoded => {
    const decoded = decode(piece, last);
    return { ...decoded, text: redact(decoded.text, last) };
  };
};

/** Bind's values in pieces: text, base64 for the binary format and for what is not UTF-8, null. */
export const bindTeller = () => {
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
    open = cut < bytes.length ? [Buffer.from(bytes.subarray(cut))] : [];
    values.push(!isBinary() && isUtf8(shown) ? shown.toString() : { base64: shown.toString("base64") });
  };
  const visit: BindVisitor = {
    name: (which, bytes) => void names[which]?.push(Buffer.from(bytes)),
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
  return (piece: Buffer): Members => {
    values = [];
    // which value the first one here is, and whether it began in the part before
    const at = within ? { from: index, continues: true } : index >= 0 ? { from: index + 1 } : {};
    walk.step(piece, 0, piece.length);
    if (open.length > 0) say(false);
    const [portal, statement] = names.map((name) => Buffer.concat(name).toString());
    return { type: "bind", portal, statement, ...at, values };
  };
};
