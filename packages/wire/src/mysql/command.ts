// Follows what a client says command by command. A command's first 64 KiB are there before any of it passes, the audit sees
// all of it piece by piece before it goes on, and commands that are not for the server are taken out to be answered here.
// Rule: what is not in the table below is refused with an error, and the connection stays; what can't be read ends it.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html
import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { extended } from "./capability.ts";
import { type Kill, mayBeKill, parseKill } from "./kill.ts";
import { fullPacket, headerSize } from "./packet.ts";
import type { Session } from "./session.ts";
import type { Observe } from "./statement.ts";

export const commands = {
  ...{ quit: 0x01, initDb: 0x02, query: 0x03, fieldList: 0x04, refresh: 0x07, statistics: 0x09, processInfo: 0x0a },
  ...{ processKill: 0x0c, debug: 0x0d, ping: 0x0e, prepare: 0x16, execute: 0x17, longData: 0x18, closeStatement: 0x19 },
  ...{ resetStatement: 0x1a, setOption: 0x1b, fetch: 0x1c, resetConnection: 0x1f, bulkExecute: 0xfa },
} as const;

/** Why others are refused: they log in as somebody else, replicate, or stop the server. */
const refusedNames: Readonly<{ [type: number]: string }> = {
  ...{ 5: "create_db", 6: "drop_db", 8: "shutdown", 17: "change_user", 18: "binlog_dump", 19: "table_dump" },
  ...{ 20: "connect_out", 21: "register_slave", 29: "daemon", 30: "binlog_dump_gtid", 32: "clone", 254: "multi" },
};

// how a command is taken: 0 refused
const silent = 1; //  has no answer
const brief = 2; //   fits in one piece
const told = 4; //    the audit tells of it
const how = new Uint8Array(256);
for (const [type, bits] of [
  ...[
    [commands.quit, silent | brief],
    [commands.closeStatement, silent | brief],
    [commands.longData, silent | told],
  ],
  ...[
    [commands.ping, brief],
    [commands.resetStatement, brief],
    [commands.processKill, brief | told],
  ],
  ...[
    [commands.initDb, brief | told],
    [commands.fieldList, brief | told],
    [commands.refresh, brief | told],
  ],
  ...[
    [commands.statistics, brief | told],
    [commands.processInfo, brief | told],
    [commands.debug, brief | told],
  ],
  ...[
    [commands.setOption, brief | told],
    [commands.fetch, brief | told],
    [commands.resetConnection, brief | told],
  ],
  ...[
    [commands.query, told],
    [commands.prepare, told],
    [commands.execute, told],
    [commands.bulkExecute, told],
  ],
] as const)
  how[type] = bits;

/** What is answered here instead of there. */
export type Local = { readonly kill: Kill } | { readonly refused: string; readonly type: number };

export interface Asks {
  /** As of Frames in flow.ts. */
  scan(bytes: Buffer, from: number, once: boolean): number;
  need(): number;
  inside(): boolean;
  edge(): number;
  dropped(): boolean;
  hold(): Promise<void> | undefined;
  /** From now on a file's contents come, until they end. */
  expectFile(sequence: number): void;
  /** Bytes of files since last asked. */
  copied(): number;
  /** Has it said COM_QUIT? */
  quit(): boolean;
  /** Was it between two commands that the order broke? */
  strayed(): boolean;
}

export interface AskOptions {
  readonly session: Session;
  readonly observe: Observe;
  /** Are connections named by ids of our own? */
  readonly ownIds: boolean;
  isOurs(id: number): boolean;
  /** Called when a local command has been taken in whole: what comes behind it waits for this. */
  answer(local: Local, sequence: number): Promise<void>;
}

const outOfOrder = (): Failure => new Failure("protocol", "got packets out of order");
const malformed = (): Failure => new Failure("protocol", "malformed communication packet");

/** `USE name`, as a client sends it; the server's own word for what is in force comes with its answer. */
const usedSchema = (bytes: Buffer, from: number, to: number): Buffer | undefined => {
  // a blank or a comment may come before it
  const first = bytes[from] ?? 0;
  const begins = (first | 0x20) === 0x75 ? ((bytes[from + 1] ?? 0) | 0x20) === 0x73 : first < 0x30 && first !== 0x28;
  if (!begins || to - from > 300) return undefined;
  const found =
    /^(?:\s|\/\*(?!M?!)[^*]*\*\/|(?:--\s|#)[^\n]*\n)*use\s*(?:`((?:[^`]|``)+)`|(?<=\s)([^\s;`]+))\s*;?\s*$/i.exec(
      bytes.toString("utf8", from, to),
    );
  const name = found?.[1]?.replaceAll("``", "`") ?? found?.[2];
  return name === undefined ? undefined : Buffer.from(name);
};

export const openAsks = ({ session, observe, ownIds, isOurs, answer }: AskOptions): Asks => {
  let left = 0; //         of the current packet
  let goesOn = false; //   does its payload go on in the next one?
  let sequence = 0; //     of the current packet
  let type = 0;
  let shown = false; //    does the audit want it?
  let need = 0;
  let edge = 0;
  let copied = 0;
  let file = false; //     is it a file's contents?
  let local: Local | undefined;
  let dropped = false;
  let owed = 0; //         bytes that were looked at and are a run of their own
  let held: Promise<void> | undefined;
  let strayed = false;
  let pending: { sequence: number } | undefined;

  const bulk = (session.agreed.extended & extended.bulk) !== 0;

  /** The payload's first piece is there, whole commands most often. */
  const localOf = (bytes: Buffer, from: number, to: number): Local | undefined => {
    if (how[type] === 0 || (type === commands.bulkExecute && !bulk))
      return { refused: refusedNames[type] ?? `0x${type.toString(16).padStart(2, "0")}`, type };
    if (!ownIds) return undefined;
    if (type === commands.processKill && to - from === 4) {
      const connection = bytes.readUInt32LE(from);
      return isOurs(connection) ? { kill: { what: "connection", connection } } : undefined;
    }
    if (type !== commands.query || !mayBeKill(bytes, from, to)) return undefined;
    const kill = parseKill(bytes.toString("latin1", from, to));
    return kill && isOurs(kill.connection) ? { kill } : undefined;
  };

  const expect = (bits: number, bytes: Buffer, from: number, to: number): void => {
    pending = undefined;
    if (bits & silent) {
      // a server answers one that it can't read, where no answer is expected
      if (type === commands.closeStatement && to - from < 4) throw malformed();
      if (type === commands.closeStatement) session.forget(bytes.readUInt32LE(from));
      return;
    }
    if (type === commands.resetStatement && to - from >= 4) {
      const prepared = session.prepared(bytes.readUInt32LE(from));
      if (prepared) prepared.long = undefined;
    }
    const schema =
      type === commands.initDb
        ? Buffer.from(bytes.subarray(from, to))
        : type === commands.query
          ? usedSchema(bytes, from, to)
          : undefined;
    const entry = {
      command: type,
      sequence,
      schema,
      prepared: type === commands.prepare ? session.prepare() : undefined,
    };
    pending = entry;
    session.expect(entry);
  };

  /** A command begins; its first piece is there. */
  const begin = (bytes: Buffer, from: number, to: number): void => {
    const last = left === 0 && !goesOn;
    local = localOf(bytes, from, to);
    shown = false;
    if (local) return;
    const bits = how[type] ?? 0;
    if (bits & brief && !last) throw malformed();
    shown = (bits & told) !== 0;
    if (shown) observe(type, bytes, from, to, true, last);
    expect(bits, bytes, from, to);
  };

  /** A packet begins at `at`. How many bytes of it may pass: 0 when more are needed first. */
  const head = (bytes: Buffer, at: number): number => {
    const length = bytes.readUIntLE(at, 3);
    const number = bytes[at + 3] ?? 0;
    if (goesOn || file) {
      if (number !== ((sequence + 1) & 0xff)) throw outOfOrder();
      sequence = number;
      if (pending) pending.sequence = number;
      if (file) {
        copied += length;
        file = length > 0 || goesOn;
      } else if (goesOn && length === 0 && shown) observe(type, bytes, at + headerSize, at + headerSize, false, true);
      left = length;
      goesOn = length === fullPacket;
      return headerSize;
    }
    strayed = number !== 0 || length === 0;
    if (strayed) throw number !== 0 ? outOfOrder() : malformed();
    const first = Math.min(length, partSize);
    if (bytes.length - at < headerSize + first) {
      need = headerSize + first;
      return 0;
    }
    sequence = 0;
    type = bytes[at + headerSize] ?? 0;
    left = length - first;
    goesOn = length === fullPacket;
    begin(bytes, at + headerSize + 1, at + headerSize + first);
    return headerSize + first;
  };

  const body = (bytes: Buffer, at: number): number => {
    const have = bytes.length - at;
    if (!shown || file) {
      const some = Math.min(left, have);
      left -= some;
      return some;
    }
    const piece = Math.min(left, partSize);
    if (piece > have) {
      need = piece;
      return 0;
    }
    left -= piece;
    observe(type, bytes, at, at + piece, false, left === 0 && !goesOn);
    return piece;
  };

  return {
    scan: (bytes, from, once) => {
      let at = from;
      edge = from;
      dropped = local !== undefined;
      while (at < bytes.length) {
        if (once && left === 0 && !goesOn && !file && owed === 0) return at;
        if (owed === 0 && left === 0 && bytes.length - at < headerSize) {
          need = headerSize;
          return at;
        }
        // what came before it is whole, and passes
        if (at > from && owed + left === 0 && !goesOn && !file && (bytes[at + 3] !== 0 || !bytes.readUIntLE(at, 3)))
          return at;
        const before = local;
        const some = owed > 0 ? owed : left > 0 ? body(bytes, at) : head(bytes, at);
        owed = 0;
        if (some === 0) return at;
        if (local && !before) {
          dropped = at === from;
          // what stays here is a run of its own, once what is before it has passed
          if (!dropped) {
            owed = some;
            return at;
          }
        }
        at += some;
        if (left > 0 || goesOn) continue;
        edge = at;
        if (!local) continue;
        held = answer(local, sequence);
        local = undefined;
        return at;
      }
      return at;
    },
    need: () => need,
    inside: () => left > 0 || goesOn,
    edge: () => edge,
    dropped: () => dropped,
    hold: () => {
      const promise = held;
      held = undefined;
      return promise;
    },
    expectFile: (number) => {
      file = true;
      sequence = number;
      if (pending) pending.sequence = number;
    },
    copied: () => {
      const count = copied;
      copied = 0;
      return count;
    },
    quit: () => type === commands.quit,
    strayed: () => strayed,
  };
};
