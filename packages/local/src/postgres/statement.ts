// The smallest PostgreSQL client: one simple query over the private socket as a role that the server trusts.
// For the laptop account's own administration only; rows are text, as the server sends them.
// https://www.postgresql.org/docs/18/protocol-flow.html
import { connect } from "node:net";
import { Failure } from "@sallyport/core/failure";

export type Row = readonly (string | null)[];

const startup = (user: string, database: string): Buffer => {
  const body = Buffer.from(`\0\x03\0\0user\0${user}\0database\0${database}\0\0`);
  const out = Buffer.alloc(4 + body.length);
  out.writeInt32BE(out.length);
  body.copy(out, 4);
  return out;
};

const message = (type: string, text = ""): Buffer => {
  const body = Buffer.from(text);
  const out = Buffer.alloc(5 + body.length);
  out.write(type);
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
};

const rowOf = (body: Buffer): Row => {
  const row: (string | null)[] = [];
  let at = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString("utf8", at, at + length));
    at += Math.max(length, 0);
  }
  return row;
};

const errorOf = (body: Buffer): Failure => {
  const fields = new Map(
    body
      .toString("utf8")
      .split("\0")
      .map((field) => [field[0], field.slice(1)]),
  );
  return new Failure("invalid", `postgres: ${fields.get("M") ?? "an error without words"}`, {
    details: { sqlstate: fields.get("C") ?? "" },
  });
};

/** The rows of all statements in `text`, in order; the server's first error is a Failure `invalid` with its `sqlstate`. */
export const runStatement = (socket: string, user: string, database: string, text: string): Promise<readonly Row[]> =>
  new Promise((answer, refuse) => {
    const rows: Row[] = [];
    let error: Failure | undefined;
    let asked = false;
    let held: Buffer = Buffer.alloc(0);
    const server = connect(socket, () => server.write(startup(user, database)));
    const take = (type: string, body: Buffer): void => {
      if (type === "D") rows.push(rowOf(body));
      if (type === "E") error ??= errorOf(body);
      if (type === "R" && body.readInt32BE(0) !== 0) {
        error ??= new Failure("upstream_refused", `postgres does not trust ${user}`);
        server.destroy();
      }
      if (type !== "Z") return;
      if (asked) server.end(message("X"));
      else server.write(message("Q", `${text}\0`));
      asked = true;
    };
    server.on("data", (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      while (held.length >= 5 && held.length > held.readInt32BE(1)) {
        const end = 1 + held.readInt32BE(1);
        take(held.toString("latin1", 0, 1), held.subarray(5, end));
        held = held.subarray(end);
      }
    });
    server.on("error", refuse);
    server.on("close", () => {
      if (error) refuse(error);
      else if (asked && server.readableEnded) answer(rows);
      else refuse(new Failure("upstream_unreachable", "postgres closed the connection"));
    });
  });
