// The smallest MySQL client: statements over the private socket, logged in with a native password. For the laptop account's
// own administration only; rows are text, as the server sends them.
// https://mariadb.com/kb/en/result-set-packets/
import { connect } from "node:net";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";
import { capability, errorText, framed, nativeScramble, type Packet, parseGreeting } from "./packet.ts";

export type Row = readonly (string | null)[];

const moreResults = 8;
const utf8mb4 = 45;
const asked =
  capability.connectWithDb |
  capability.protocol41 |
  capability.secureConnection |
  capability.multiStatements |
  capability.multiResults |
  capability.pluginAuth;

const response = (user: string, password: Secret, database: string, nonce: Buffer): Buffer => {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(asked);
  head.writeUInt32LE(0x4000_0000, 4);
  head[8] = utf8mb4;
  const scramble = nativeScramble(password.reveal(), nonce);
  const name = Buffer.from(`${user}\0`);
  const rest = Buffer.from(`${database}\0mysql_native_password\0`);
  return Buffer.concat([head, name, Buffer.from([scramble.length]), scramble, rest]);
};

/** A length-encoded integer and where it ends; null is 0xFB. */
const lengthAt = (body: Buffer, at: number): readonly [length: number | null, end: number] => {
  const first = body[at] ?? 0;
  if (first < 0xfb) return [first, at + 1];
  if (first === 0xfb) return [null, at + 1];
  if (first === 0xfc) return [body.readUInt16LE(at + 1), at + 3];
  if (first === 0xfd) return [body.readUIntLE(at + 1, 3), at + 4];
  return [Number(body.readBigUInt64LE(at + 1)), at + 9];
};

const rowOf = (body: Buffer): Row => {
  const row: (string | null)[] = [];
  for (let at = 0; at < body.length; ) {
    const [length, end] = lengthAt(body, at);
    row.push(length === null ? null : body.toString("utf8", end, end + length));
    at = end + (length ?? 0);
  }
  return row;
};

const failureOf = (body: Buffer): Failure =>
  new Failure("invalid", `mariadb: ${errorText(body)}`, { details: { errno: body.readUInt16LE(1) } });

/** Takes packets one by one; answers true when the last result is complete. */
const resultReader = (rows: Row[]) => {
  let at: "head" | "columns" | "rows" = "head";
  return ({ body }: Packet): boolean => {
    const end = body[0] === 0xfe && body.length < 9;
    if (body[0] === 0xff) throw failureOf(body);
    if (at === "head" && body[0] === 0) {
      const [, affectedEnd] = lengthAt(body, 1);
      const [, idEnd] = lengthAt(body, affectedEnd);
      return (body.readUInt16LE(idEnd) & moreResults) === 0;
    }
    if (at === "head") at = "columns";
    else if (at === "columns" && end) at = "rows";
    else if (at === "rows" && end) {
      at = "head";
      return (body.readUInt16LE(3) & moreResults) === 0;
    } else if (at === "rows") rows.push(rowOf(body));
    return false;
  };
};

/** The rows of all statements in `text`, in order; the server's first error is a Failure `invalid` with its `errno`. */
export const runStatement = (
  socket: string,
  as: { readonly user: string; readonly password: Secret },
  database: string,
  text: string,
): Promise<readonly Row[]> =>
  new Promise((answer, refuse) => {
    const rows: Row[] = [];
    const read = resultReader(rows);
    let stage: "greeting" | "login" | "result" | "done" = "greeting";
    let held: Buffer = Buffer.alloc(0);
    const server = connect(socket);
    const say = (sequence: number, body: Buffer): void => void server.write(framed({ sequence, body }));
    const hear = (packet: Packet): void => {
      if (stage === "greeting") {
        say(1, response(as.user, as.password, database, parseGreeting(packet.body).nonce));
        stage = "login";
      } else if (stage === "login") {
        if (packet.body[0] !== 0) throw failureOf(packet.body);
        say(0, Buffer.from(`\x03${text}`));
        stage = "result";
      } else if (stage === "result" && read(packet)) {
        stage = "done";
        answer(rows);
        server.end(framed({ sequence: 0, body: Buffer.from([1]) }));
      }
    };
    server.on("data", (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      try {
        while (held.length >= 4 && held.length >= 4 + held.readUIntLE(0, 3)) {
          const end = 4 + held.readUIntLE(0, 3);
          hear({ sequence: held[3] ?? 0, body: held.subarray(4, end) });
          held = held.subarray(end);
        }
      } catch (thrown) {
        refuse(thrown);
        server.destroy();
      }
    });
    server.on("error", refuse);
    server.on("close", () => refuse(new Failure("upstream_unreachable", "mariadb closed the connection")));
  });
