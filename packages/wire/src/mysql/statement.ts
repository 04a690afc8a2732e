// What an audit line says of what a MySQL client asks. A statement is worded while it is recorded, so one object serves for every
// message of its kind; what is plain goes from the relay's bytes into the line's. Passwords are taken out. Parameters are decoded,
// which needs what the session knows of its prepared statements.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html
import type { Statement } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { json, type Line } from "@sallyport/core/line";
import { type Decoded, decode, decoder } from "../text.ts";
import { attributesHead, values } from "./bind.ts";
import { capability } from "./capability.ts";
import { commands } from "./command.ts";
import { plainExecute } from "./execute.ts";
import { openTeller, type Teller, tellAttributes } from "./parameters.ts";
import { bytesMayHoldSecret, mayHoldSecret, redactor } from "./redaction.ts";
import type { Session } from "./session.ts";

/** A piece of a command that a relay is about to pass on, without the byte that names it. */
export type Observe = (type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean) => void;
export type Record = (statement: Statement) => void;

type Members = Readonly<{ [member: string]: unknown }>;

// what a line has beside the bytes it tells of
export const overhead = 64;

const empty: Buffer = Buffer.alloc(0);
const openings = { text: json(',"text":'), database: json(',"database":') };
const types = { query: json(',"type":"query"'), prepare: json(',"type":"prepare"') };

const malformed = (command: string): Failure => new Failure("protocol", `malformed ${command} command`);
/** A number that is at `at`, as it must be. */
const idAt = (bytes: Buffer, at: number, to: number, command: string): number => {
  if (to - at < 4) throw malformed(command);
  return bytes.readUInt32LE(at);
};

const shownSql = ({ text, ...rest }: Decoded, { noEscapes }: Session): Decoded => ({
  text: mayHoldSecret(text) ? redactor(!noEscapes)(text, true) : text,
  ...rest,
});
/** SQL text in pieces as an audit line shows it. */
const sql = ({ noEscapes }: Session) => {
  const decodePiece = decoder();
  const redact = redactor(!noEscapes);
  return (piece: Buffer, last: boolean): Decoded => {
    const decoded = decodePiece(piece, last);
    return { ...decoded, text: redact(decoded.text, last) };
  };
};

const databaseOf = ({ schema }: Session): Members => (schema === undefined ? {} : { database: schema.toString() });
const sayDatabase = (line: Line, session: Session): void => {
  const { schema } = session;
  if (schema && !line.text(openings.database, schema, 0, schema.length)) line.members(databaseOf(session));
};

/** An SQL text in one piece, and a query's attributes before it. */
const textStatement = (session: Session, type: Uint8Array) => {
  const statement = {
    ...{ bytes: empty, from: 0, to: 0, size: 0, attributes: undefined as Members | undefined },
    say: (line: Line): void => {
      const { bytes, from, to, attributes } = statement;
      line.fixed(type);
      sayDatabase(line, session);
      if (attributes) line.members({ attributes });
      if (!bytesMayHoldSecret(bytes, from, to) && line.text(openings.text, bytes, from, to)) return;
      line.members({ ...shownSql(decode(bytes.subarray(from, to)), session) });
    },
  };
  return statement;
};

/** What the parts of one long command share. */
interface Parts {
  readonly words: ReturnType<typeof sql>;
  number: number;
}

/** Commands without a text that the audit tells of by their name alone. */
const named: Readonly<{ [type: number]: string }> = {
  [commands.refresh]: "refresh",
  [commands.statistics]: "statistics",
  [commands.processInfo]: "process_info",
  [commands.debug]: "debug",
  [commands.setOption]: "set_option",
  [commands.resetConnection]: "reset_connection",
};

/** What a client says. @throws Failure `protocol` at a command that can't be read */
export const observeClient = (record: Record, session: Session): Observe => {
  const whole = { query: textStatement(session, types.query), prepare: textStatement(session, types.prepare) };
  const attributed = (session.agreed.flags & capability.queryAttributes) !== 0;
  let parts: Parts | undefined;
  let teller: Teller | undefined;

  const say = (size: number, said: () => Members): void =>
    record({ size: overhead + size, say: (line) => line.members(said()) });
  /** A piece of a command that comes in several. */
  const piece = (bytes: Buffer, last: boolean, said: (shared: Parts) => Members): void => {
    const shared = parts;
    if (!shared) return;
    record({ size: overhead + bytes.length, part: shared.number++, last, say: (line) => line.members(said(shared)) });
  };

  /** Where a query's text begins; its attributes must be whole in the first piece. */
  const textStart = (bytes: Buffer, from: number, to: number): number => {
    const head = attributesHead(bytes.subarray(from, to));
    const walk = values(head, undefined);
    const at = from + head.at;
    const end = at + walk.step(bytes, at, to);
    if (!walk.done()) throw malformed("query");
    return end;
  };

  const text = (
    type: "query" | "prepare",
    bytes: Buffer,
    from: number,
    to: number,
    first: boolean,
    last: boolean,
  ): void => {
    const start = first && type === "query" && attributed ? textStart(bytes, from, to) : from;
    // a count of none is two bytes
    const attributes = start > from + 2 ? tellAttributes(bytes.subarray(from, start)) : undefined;
    if (first && last) {
      const statement = whole[type];
      statement.bytes = bytes;
      statement.from = start;
      statement.to = to;
      statement.size = overhead + to - from;
      statement.attributes = attributes;
      record(statement);
      return;
    }
    const kept = bytes.subarray(start, to);
    const opened = first ? { ...databaseOf(session), ...(attributes && { attributes }) } : {};
    piece(kept, last, ({ words }) => ({ type, ...opened, ...words(kept, last) }));
  };

  /** A teller where the statement is known; where it is not, or its answer is on its way, the server rules on it. */
  const beginExecute = (kind: "execute" | "bulk", id: number): Teller | undefined => {
    const one = session.prepared(id);
    const long = one?.long;
    if (one && kind === "execute") one.long = undefined;
    if (one?.parameters === undefined) return undefined;
    const shape = { parameters: one.parameters, types: one.types, long, named: attributed };
    return openTeller(kind, shape, ({ types: bound }) => {
      // a copy: the bytes are the relay's, and the next EXECUTE may leave its types out
      if (bound !== one.types) one.types = Buffer.from(bound);
    });
  };
  const plain = plainExecute();
  const plainStatement = {
    ...{ size: 0, again: undefined as (() => Members) | undefined },
    say: (line: Line): void => {
      if (!plain.say(line)) line.members(plainStatement.again?.() ?? {});
    },
  };
  /** Most are in one piece and plain. */
  const sayPlain = (bytes: Buffer, from: number, to: number): boolean => {
    const one = attributed || to - from < 4 ? undefined : session.prepared(bytes.readUInt32LE(from));
    if (!one || !plain.read(bytes, from, to, one)) return false;
    plainStatement.size = overhead + to - from;
    plainStatement.again = () => {
      const shape = { parameters: one.parameters ?? 0, types: one.types, long: undefined, named: false };
      return openTeller("execute", shape, () => {}).tell(bytes.subarray(from, to));
    };
    record(plainStatement);
    return true;
  };
  const execute = (
    kind: "execute" | "bulk",
    bytes: Buffer,
    from: number,
    to: number,
    first: boolean,
    last: boolean,
  ): void => {
    if (first && last && kind === "execute" && sayPlain(bytes, from, to)) return;
    const kept = bytes.subarray(from, to);
    const id = first ? idAt(bytes, from, to, kind) : 0;
    if (first) teller = beginExecute(kind, id);
    const unknown = first && !teller ? session.prepared(id) : undefined;
    if (unknown) unknown.early = { kind, bytes: Buffer.from(kept) };
    const members = teller
      ? teller.tell(kept)
      : { type: kind, ...(first ? { statement: id } : {}), base64: kept.toString("base64") };
    if (last && teller?.done() === false) throw malformed(kind);
    if (first && last) say(kept.length, () => members);
    else piece(kept, last, () => members);
  };

  const longData = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    const kept = bytes.subarray(first ? from + 6 : from, to);
    let opened: Members = {};
    if (first) {
      if (to - from < 6) throw malformed("long data");
      const statement = bytes.readUInt32LE(from);
      const parameter = bytes.readUInt16LE(from + 4);
      const one = session.prepared(statement);
      // a server rules on a place that the statement does not have
      if (one && parameter < (one.parameters ?? 0x1_0000)) {
        one.long ??= new Set();
        one.long.add(parameter);
      }
      opened = { statement, parameter };
    }
    if (first && last) say(kept.length, () => ({ type: "long_data", ...opened, ...longValue(kept) }));
    else piece(kept, last, () => ({ type: "long_data", ...opened, ...longValue(kept) }));
  };

  const other = (type: number, bytes: Buffer, from: number, to: number): void => {
    if (type === commands.initDb)
      say(to - from, () => ({ type: "database", name: decode(bytes.subarray(from, to)).text }));
    else if (type === commands.fieldList)
      say(to - from, () => ({ type: "fields", ...databaseOf(session), table: fieldTable(bytes.subarray(from, to)) }));
    else if (type === commands.fetch) {
      const statement = idAt(bytes, from, to, "fetch");
      const rows = idAt(bytes, from + 4, to, "fetch");
      say(0, () => ({ type: "fetch", statement, rows }));
    } else if (type === commands.processKill) {
      const connection = idAt(bytes, from, to, "kill");
      say(0, () => ({ type: "kill", what: "connection", connection }));
    } else say(0, () => ({ type: "command", command: named[type] }));
  };

  return (type, bytes, from, to, first, last) => {
    if (first) parts = last ? undefined : { words: sql(session), number: 0 };
    if (type === commands.query) text("query", bytes, from, to, first, last);
    else if (type === commands.prepare) text("prepare", bytes, from, to, first, last);
    else if (type === commands.execute) execute("execute", bytes, from, to, first, last);
    else if (type === commands.bulkExecute) execute("bulk", bytes, from, to, first, last);
    else if (type === commands.longData) longData(bytes, from, to, first, last);
    else other(type, bytes, from, to);
  };
};

const longValue = (bytes: Buffer): Members => ({ base64: bytes.toString("base64") });
const fieldTable = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return decode(end < 0 ? bytes : bytes.subarray(0, end)).text;
};

/** A command that the proxy answers itself. */
export const refusedStatement = (command: string): Statement => ({
  size: overhead,
  say: (line) => line.members({ type: "refused", command }),
});
export const killStatement = (what: string, connection: number): Statement => ({
  size: overhead,
  say: (line) => line.members({ type: "kill", what, connection, answered: true }),
});

const results = { complete: json(',"type":"complete"'), prepared: json(',"type":"prepared"') };
const counts = {
  ...{
    affected: json(',"affected":'),
    rows: json(',"rows":'),
    warnings: json(',"warnings":'),
    copied: json(',"copied":'),
  },
  ...{ statement: json(',"statement":'), parameters: json(',"parameters":') },
};

// a syntax error quotes the statement, which the audit has, from any place on: also from just before a password
const syntaxErrno = 1064;
const quoted = /'.*'/s;

/** What a server answers; each object serves again and again. */
export const observeServer = (record: Record, copied: () => number) => {
  const complete = {
    ...{ size: overhead, affected: -1, rows: -1, warnings: 0, copied: 0 },
    say: (line: Line): void => {
      line.fixed(results.complete);
      if (complete.rows >= 0) line.number(counts.rows, complete.rows);
      if (complete.affected >= 0) line.number(counts.affected, complete.affected);
      if (complete.warnings > 0) line.number(counts.warnings, complete.warnings);
      if (complete.copied > 0) line.number(counts.copied, complete.copied);
    },
  };
  const prepared = {
    ...{ size: overhead, statement: 0, parameters: 0 },
    say: (line: Line): void => {
      line.fixed(results.prepared);
      line.number(counts.statement, prepared.statement);
      line.number(counts.parameters, prepared.parameters);
    },
  };
  return {
    /** -1 where there is no such number. */
    complete: (affected: number, rows: number, warnings: number): void => {
      Object.assign(complete, { affected, rows, warnings, copied: copied() });
      record(complete);
    },
    prepared: (statement: number, parameters: number): void => {
      Object.assign(prepared, { statement, parameters });
      record(prepared);
    },
    error: (said: { readonly errno: number; readonly sqlState: string; readonly message: string }): void => {
      const count = copied();
      const message = said.errno === syntaxErrno ? said.message.replace(quoted, "'…'") : said.message;
      const members = { type: "error", ...said, message, ...(count > 0 ? { copied: count } : {}) };
      record({ size: overhead + said.message.length, say: (line) => line.members(members) });
    },
    file: (name: string): void =>
      record({ size: overhead + name.length, say: (line) => line.members({ type: "local_file", name }) }),
  };
};
export type Answers = ReturnType<typeof observeServer>;

/** A file's bytes that a session's end cut off. */
export const copyLeft = (count: number): Statement => ({
  size: overhead,
  say: (line) => line.members({ type: "copy", copied: count }),
});
