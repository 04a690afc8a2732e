// The words of what is not plain: SQL text and the values of a Bind, whole or in parts, with their characters made whole across
// parts and their passwords taken out. What is told in a later part is a copy: the bytes are the relay's.
import { isUtf8 } from "node:buffer";
import { type Decoded, decode, decoder, unfinished } from "../text.ts";
import { type BindVisitor, bindWalker } from "./bind.ts";
import { mayHoldSecret, redactor } from "./redaction.ts";

type Members = Readonly<{ [member: string]: unknown }>;

const empty: Buffer = Buffer.alloc(0);

/** A whole SQL text as an audit line shows it. */
export const wholeSql = (bytes: Buffer): Decoded => {
  const decoded = decode(bytes);
  return mayHoldSecret(decoded.text) ? { ...decoded, text: redactor()(decoded.text, true) } : decoded;
};

/** SQL text in pieces as an audit line shows it. */
export const sql = () => {
  const tell = decoder();
  const redact = redactor();
  return (piece: Buffer, last: boolean): Decoded => {
    const decoded = tell(piece, last);
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
