// Follows what a server answers: where each answer ends, how many rows it had, what it says of errors and of the database in use.
// Rows and columns are only counted, by their first byte; what ends them is read whole before it passes. An answer that nobody
// asked for, and one that can't be told from another, ends the session.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { boundTypes } from "./bind.ts";
import { capability, extended } from "./capability.ts";
import { commands } from "./command.ts";
import { errorFields, heads } from "./message.ts";
import { fullPacket, headerSize, type Reader, reader } from "./packet.ts";
import type { Session } from "./session.ts";
import type { Answers } from "./statement.ts";

export interface Results {
  /** As of Frames in flow.ts. */
  scan(bytes: Buffer, from: number, once: boolean): number;
  need(): number;
  inside(): boolean;
  edge(): number;
  dropped(): boolean;
  hold(): undefined;
  /** The number that the client expects in the packet that comes next. */
  next(): number;
  /** Was an error the last that it said? */
  erred(): boolean;
}

export interface ResultOptions {
  readonly session: Session;
  readonly tell: Answers;
  /** It asks the client for a file. @throws Failure when that must not be */
  fileAsked(name: string, sequence: number): void;
}

/** Bits of a status. */
const status = { moreResults: 0x8, cursorExists: 0x40, noEscapes: 0x200, stateChanged: 0x4000 } as const;
const trackSchema = 1;
const progressErrno = 0xffff;

/** Where an answer is. */
const stages = { first: 0, columns: 1, columnsEnd: 2, rows: 3, definitions: 4 } as const;

// how a command is answered: by a result, rows alone, definitions until their end, one packet of some sort, or a statement
const byRows = 1;
const byDefinitions = 2;
const byOne = 3;
const byText = 4;
const byStatement = 5;
const manner = new Uint8Array(256).fill(byOne);
manner.fill(0, commands.query, commands.query + 1);
for (const type of [commands.execute, commands.bulkExecute, commands.processInfo]) manner[type] = 0;
manner[commands.fetch] = byRows;
manner[commands.fieldList] = byDefinitions;
manner[commands.statistics] = byText;
manner[commands.prepare] = byStatement;

const odd = (what: string): Failure =>
  new Failure("protocol", `the database sent ${what}`, { hint: "look at what stands at the endpoint" });

interface Ok {
  readonly affected: number;
  readonly status: number;
  readonly warnings: number;
  readonly schema: Buffer | undefined;
}

/** A name in what an OK tells of the session's state. A block that is cut off, for its length, tells nothing. */
const trackedSchema = (fields: Reader): Buffer | undefined => {
  try {
    fields.counted();
    const block = reader(fields.counted());
    while (block.left() > 0) {
      const type = block.u8();
      const data = block.counted();
      if (type === trackSchema) return Buffer.from(reader(data).counted());
    }
  } catch {
    // said of the session, not of the answer's end
  }
  return undefined;
};

const parseOk = (payload: Buffer, tracks: boolean): Ok => {
  const fields = reader(payload, 1);
  const affected = fields.lenenc();
  fields.lenenc();
  const bits = fields.u16();
  const warnings = fields.u16();
  const schema = tracks && bits & status.stateChanged ? trackedSchema(fields) : undefined;
  return { affected, status: bits, warnings, schema };
};
/** What the OK of a login says of the session that begins. */
export const readyStatus = (ready: Buffer): { readonly noEscapes: boolean } => ({
  noEscapes: (parseOk(ready, false).status & status.noEscapes) !== 0,
});
const parseEof = (payload: Buffer): Ok => {
  const fields = reader(payload, 1);
  const warnings = fields.left() >= 4 ? fields.u16() : 0;
  return { affected: 0, status: fields.left() >= 2 ? fields.u16() : 0, warnings, schema: undefined };
};

export const openResults = ({ session, tell, fileAsked }: ResultOptions): Results => {
  const { flags, extended: more } = session.agreed;
  const noEof = (flags & capability.deprecateEof) !== 0;
  const tracks = (flags & capability.sessionTrack) !== 0;
  const flagged = (flags & capability.optionalMetadata) !== 0 || (more & extended.cacheMetadata) !== 0;
  const optional = (flags & capability.optionalMetadata) !== 0;
  const named = (flags & capability.queryAttributes) !== 0;
  const progress = (more & extended.progress) !== 0;

  let left = 0; //       of the current packet
  let goesOn = false; // does its payload go on in the next one?
  let sequence = -1; //  of the answer's last packet that passed; none yet
  let begun = false; //  is an answer under way?
  let stage: number = stages.first;
  let count = 0; //      columns or definitions to come
  let rows = 0;
  let need = 0;
  let edge = 0;
  let erred = false;

  const reset = (): void => {
    begun = false;
    sequence = -1;
    stage = stages.first;
    rows = 0;
  };
  const end = (): void => {
    session.answered();
    reset();
  };
  /** A result, or all of an answer, has ended. */
  const complete = ({ affected, status: bits, warnings, schema }: Ok, counted: boolean): void => {
    const front = session.front();
    if (schema) session.schema = schema;
    else if (front?.schema) session.schema = front.schema;
    session.noEscapes = (bits & status.noEscapes) !== 0;
    if (front?.command === commands.resetConnection) session.forgetAll();
    tell.complete(counted ? -1 : affected, counted ? rows : -1, warnings);
    if (bits & status.moreResults) {
      stage = stages.first;
      rows = 0;
    } else end();
  };
  const error = (payload: Buffer): void => {
    const said = errorFields(payload);
    if (said.errno === progressErrno && progress) return;
    erred = true;
    tell.error(said);
    // the last words of a server that goes away are nobody's answer
    if (session.waiting() > 0) end();
  };

  const columns = (payload: Buffer): void => {
    const fields = reader(payload);
    count = fields.lenenc();
    const follow = !flagged || fields.left() === 0 || fields.u8() !== 0;
    if (count === 0 || count > 0xffff || fields.left() > 0) throw odd("a count of columns that can't be");
    if (!follow) count = 0;
    stage = count > 0 ? stages.columns : noEof ? stages.rows : stages.columnsEnd;
  };
  const definitions = (payload: Buffer): void => {
    const fields = reader(payload, 1);
    const id = fields.u32();
    const [results, parameters] = [fields.u16(), fields.u16()];
    fields.u8();
    if (fields.left() >= 2) fields.u16();
    const follow = !optional || fields.left() === 0 || fields.u8() !== 0;
    const prepared = session.front()?.prepared;
    if (prepared) {
      prepared.parameters = parameters;
      session.keep(id, prepared);
      const { early } = prepared;
      if (early) prepared.types = boundTypes(early.kind, early.bytes, { ...prepared, parameters, named });
      delete prepared.early;
    }
    tell.prepared(id, parameters);
    const ends = noEof ? 0 : (parameters > 0 ? 1 : 0) + (results > 0 ? 1 : 0);
    count = (follow ? parameters + results : 0) + ends;
    stage = stages.definitions;
    if (count === 0) end();
  };

  /** A packet that ends rows or definitions: an EOF, or an OK in its place. */
  const isEnd = (byte: number, length: number): boolean =>
    byte === heads.eof && (noEof ? length < fullPacket : length < 9);

  /** Is this packet's payload to be read? Else it is only counted. */
  const isRead = (byte: number, length: number): boolean => {
    if (byte === heads.error) return true;
    if (stage === stages.rows) return isEnd(byte, length);
    if (stage === stages.columns || stage === stages.definitions) return false;
    return manner[session.front()?.command ?? 0] !== byText;
  };

  const first = (byte: number, payload: Buffer, number: number): void => {
    const by = manner[session.front()?.command ?? 0];
    if (by === byStatement) {
      if (byte !== heads.ok) throw odd("no answer to a PREPARE");
      definitions(payload);
    } else if (by === byOne) {
      if (byte === heads.ok) complete(parseOk(payload, tracks), false);
      else if (byte === heads.eof)
        complete(noEof && payload.length > 5 ? parseOk(payload, tracks) : parseEof(payload), false);
      else throw odd("a result that nobody asked for");
    } else if (byte === heads.ok) complete(parseOk(payload, tracks), false);
    else if (byte === heads.file) {
      fileAsked(payload.toString("utf8", 1), number);
      // the client speaks now
      begun = false;
      sequence = -1;
    } else if (byte === heads.eof) throw odd("an end without a beginning");
    else columns(payload);
  };

  const read = (byte: number, payload: Buffer, number: number): void => {
    if (byte === heads.error) error(payload);
    else if (stage === stages.rows) complete(noEof ? parseOk(payload, tracks) : parseEof(payload), true);
    else if (stage === stages.columnsEnd) {
      if (byte !== heads.eof) throw odd("columns without an end");
      const said = parseEof(payload);
      if (said.status & status.cursorExists) complete(said, true);
      else stage = stages.rows;
    } else first(byte, payload, number);
  };

  const counted = (): void => {
    if (stage === stages.rows) rows++;
    else if (stage === stages.first) {
      // a text, whole in its one packet
      end();
    } else if (--count === 0) {
      if (stage === stages.definitions) end();
      else stage = noEof ? stages.rows : stages.columnsEnd;
    }
  };

  const begin = (byte: number): void => {
    if (begun) return;
    const front = session.front();
    if (!front) {
      if (byte !== heads.error) throw odd("an answer that nobody asked for");
      return;
    }
    begun = true;
    erred = false;
    const by = manner[front.command];
    stage = by === byRows || by === byDefinitions ? stages.rows : stages.first;
  };

  /** A packet begins at `at`. How many bytes of it may pass: 0 when more are needed first. */
  const head = (bytes: Buffer, at: number): number => {
    const length = bytes.readUIntLE(at, 3);
    if (goesOn) {
      left = length;
      goesOn = length === fullPacket;
      sequence = bytes[at + 3] ?? 0;
      return headerSize;
    }
    if (length === 0) throw odd("an empty packet");
    const byte = bytes[at + headerSize] ?? 0;
    begin(byte);
    if (!isRead(byte, length)) {
      sequence = bytes[at + 3] ?? 0;
      left = length;
      goesOn = length === fullPacket;
      counted();
      return headerSize;
    }
    const whole = Math.min(length, partSize);
    if (bytes.length - at < headerSize + whole) {
      need = headerSize + whole;
      return 0;
    }
    const number = bytes[at + 3] ?? 0;
    read(byte, bytes.subarray(at + headerSize, at + headerSize + whole), number);
    left = length - whole;
    goesOn = length === fullPacket;
    if (begun) sequence = number;
    return headerSize + whole;
  };

  return {
    scan: (bytes, from, once) => {
      const size = bytes.length;
      let at = from;
      edge = from;
      while (at < size) {
        if (left > 0) {
          const some = Math.min(left, size - at);
          at += some;
          left -= some;
          if (left === 0 && !goesOn) edge = at;
          continue;
        }
        if (once && !goesOn) return at;
        // a header, and the byte that tells what it is of
        const least = goesOn ? headerSize : headerSize + 1;
        if (size - at < least) {
          need = least;
          return at;
        }
        const some = head(bytes, at);
        if (some === 0) return at;
        at += some;
        if (left === 0 && !goesOn) edge = at;
      }
      return at;
    },
    need: () => need,
    inside: () => left > 0 || goesOn,
    edge: () => edge,
    dropped: () => false,
    hold: () => undefined,
    next: () => ((sequence < 0 ? (session.front()?.sequence ?? 0) : sequence) + 1) & 0xff,
    erred: () => erred,
  };
};
