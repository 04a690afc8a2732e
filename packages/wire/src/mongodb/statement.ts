// What an audit line says of a command and of its answer: the command's document whole, as extended JSON, its payload in parts
// where it is long; secrets taken out. Of an answer it says how much there was, not what.
import { partSize, type Statement } from "@sallyport/core/audit";
import { json, type Line, makePen } from "@sallyport/core/line";
import { jsonText, type Out, sayText } from "../json.ts";
import { sayDocument } from "./extended.ts";

export type Record = (statement: Statement) => void;

/** A command's body, checked, and what was read of it. */
export interface Command {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
  readonly name: string;
  readonly db: string;
  readonly collection: string | undefined;
}

const overhead = 256;
/** JSON of BSON is longer: numbers by the most, text hardly. */
const asJson = (length: number): number => overhead + 2 * length;

const userSecrets: ReadonlySet<string> = new Set(["pwd", "password", "digestPassword", "credentials"]);
const proofs: ReadonlySet<string> = new Set(["payload", "key", "nonce", "pwd"]);
/** Top-level keys that are secret, by the command in lower case. */
const secrets: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ...["createuser", "updateuser"].map((name) => [name, userSecrets] as const),
  ...["saslstart", "saslcontinue", "authenticate", "logout", "copydbsaslstart"].map((name) => [name, proofs] as const),
]);
/** By every command: what only somebody who is confused would send there. */
const always: ReadonlySet<string> = new Set(["pwd", "speculativeAuthenticate"]);

const openings = {
  ...{ command: json(',"type":"command"'), refused: json(',"type":"refused"'), complete: json(',"type":"complete"') },
  ...{
    error: json(',"type":"error"'),
    name: json(',"command":'),
    db: json(',"db":'),
    collection: json(',"collection":'),
  },
  ...{ document: json(',"document":'), answered: json(',"answered":true'), text: json(',"text":') },
  ...{ sequence: json(',"sequence":'), documents: json(',"documents":['), comma: json(","), close: json("]") },
  ...{ rows: json(',"rows":'), modified: json(',"modified":'), failed: json(',"failed":'), code: json(',"code":') },
};

/** Names of commands, databases and collections come again and again. */
const worded = new Map<string, Uint8Array>();
const wordName = (text: string): Uint8Array => {
  const known = worded.get(text);
  if (known) return known;
  const made = jsonText(text);
  if (worded.size < 1_000 && text.length <= 64) worded.set(text, made);
  return made;
};
const sayString = (line: Line, before: Uint8Array, text: string): void => {
  line.fixed(before);
  line.fixed(wordName(text));
};
const sayNames = (
  line: Line,
  type: Uint8Array,
  { name, db, collection }: Omit<Command, "bytes" | "from" | "to">,
): void => {
  line.fixed(type);
  sayString(line, openings.name, name);
  sayString(line, openings.db, db);
  if (collection !== undefined) sayString(line, openings.collection, collection);
};
const secretsOf = ({ name }: Command): ReadonlySet<string> => secrets.get(name.toLowerCase()) ?? always;

/** Gathers what is written and gives it away in pieces of at most `partSize`. */
const pieces = (give: (piece: Buffer) => void) => {
  const pen = makePen();
  const sheet = { bytes: new Uint8Array(2 * partSize), at: 0 };
  pen.take(sheet);
  const turn = (least: number): void => {
    let from = 0;
    // plain ASCII: it may be cut anywhere
    for (; sheet.at - from >= least && sheet.at > from; from += partSize)
      give(Buffer.from(sheet.bytes.subarray(from, Math.min(sheet.at, from + partSize))));
    if (from === 0) return;
    sheet.bytes.copyWithin(0, Math.min(from, sheet.at), sheet.at);
    sheet.at = Math.max(0, sheet.at - from);
  };
  const out: Out = {
    fixed: (bytes) => {
      pen.fixed(bytes);
      turn(partSize);
    },
    text: (name, bytes, from, to) => {
      const said = pen.text(name, bytes, from, to);
      if (said) turn(partSize);
      return said;
    },
    number: (name, value) => {
      pen.number(name, value);
      turn(partSize);
    },
  };
  return { out, end: () => turn(1) };
};

/** One command's lines: its body, then what follows it. */
export interface CommandTeller {
  body(command: Command, more: boolean): void;
  /** Whole documents, one behind the other, of a section by this name. */
  documents(name: string, bytes: Buffer, from: number, to: number, more: boolean): void;
  /** Nothing more follows after all. */
  end(): void;
}

export const tellCommand = (record: Record): CommandTeller => {
  let part = 0;
  let waiting = false; // has what was told so far no last part?

  const piece = (size: number, more: boolean, say: (line: Line) => void): void => {
    const number = part++;
    waiting = more;
    record(number === 0 && !more ? { size, say } : { size, part: number, last: !more, say });
  };

  /** A document that is too long for one line, as pieces of its text. */
  const long = (more: boolean, before: (line: Line) => void, word: (out: Out) => void): void => {
    let kept: Buffer | undefined;
    let first = true;
    const tell = (text: Buffer, last: boolean): void => {
      const opens = first;
      first = false;
      piece(overhead + text.length, more || !last, (line) => {
        if (opens) before(line);
        sayText(line, openings.text, text, 0, text.length);
      });
    };
    const { out, end } = pieces((text) => {
      if (kept) tell(kept, false);
      kept = text;
    });
    word(out);
    end();
    if (kept) tell(kept, true);
  };

  return {
    body: (command, more) => {
      const { bytes, from, to } = command;
      part = 0;
      const hidden = secretsOf(command);
      const names = (line: Line): void => sayNames(line, openings.command, command);
      if (to - from > partSize) {
        long(more, names, (out) => sayDocument(out, bytes, from, hidden));
        return;
      }
      piece(asJson(to - from), more, (line) => {
        names(line);
        line.fixed(openings.document);
        sayDocument(line, bytes, from, hidden);
      });
    },
    documents: (name, bytes, from, to, more) => {
      const head = (line: Line): void => sayString(line, openings.sequence, name);
      if (to - from > partSize) {
        long(more, head, (out) => sayDocument(out, bytes, from));
        return;
      }
      piece(asJson(to - from), more, (line) => {
        head(line);
        line.fixed(openings.documents);
        for (let at = from; at < to; at += bytes.readInt32LE(at)) {
          if (at > from) line.fixed(openings.comma);
          sayDocument(line, bytes, at);
        }
        line.fixed(openings.close);
      });
    },
    end: () => {
      if (waiting) piece(overhead, false, () => {});
    },
  };
};

/** A command that is answered here. */
export const answeredStatement = (command: Omit<Command, "bytes" | "from" | "to">): Statement => ({
  size: overhead,
  say: (line) => {
    sayNames(line, openings.command, command);
    line.fixed(openings.answered);
  },
});
/** A command that goes no further, and why. */
export const refusedStatement = (command: Omit<Command, "bytes" | "from" | "to">, why: string): Statement => ({
  size: overhead + why.length,
  say: (line) => {
    sayNames(line, openings.refused, command);
    line.members({ reason: why });
  },
});

/** What is told of an answer. */
export interface Outcome {
  readonly name: string;
  /** Was it ok? */
  readonly ok: boolean;
  readonly rows?: number;
  readonly modified?: number;
  /** Writes that failed, of a command that is ok. */
  readonly failed?: number;
  readonly code?: number;
  readonly codeName?: string;
  readonly message?: string;
}
export const outcomeStatement = ({
  name,
  ok,
  rows,
  modified,
  failed,
  code,
  codeName,
  message,
}: Outcome): Statement => ({
  size: overhead + (message?.length ?? 0),
  say: (line) => {
    line.fixed(ok ? openings.complete : openings.error);
    sayString(line, openings.name, name);
    if (rows !== undefined) line.number(openings.rows, rows);
    if (modified !== undefined) line.number(openings.modified, modified);
    if (failed !== undefined) line.number(openings.failed, failed);
    if (code !== undefined) line.number(openings.code, code);
    if (codeName !== undefined || message !== undefined) line.members({ codeName, message });
  },
});
