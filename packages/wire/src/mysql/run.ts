// Administrative statements, one at a time, over a connection that has no client. Values travel as hexadecimal literals into
// user variables, so there is nothing in them to escape, whatever the session's sql_mode.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
import { Failure } from "@sallyport/core/failure";
import type { Rows, Server } from "../protocol.ts";
import { serverError, wordedUpstream } from "./answer.ts";
import { commands } from "./command.ts";
import { heads } from "./message.ts";
import { type Exchange, exchange, packets, reader } from "./packet.ts";

const statementBytes = 4 * 1_048_576;

const isEnd = (payload: Buffer): boolean => payload[0] === heads.eof && payload.length < 9;
const rowOf = (payload: Buffer): readonly (string | null)[] => {
  const fields = reader(payload);
  const row: (string | null)[] = [];
  while (fields.left() > 0) {
    if (payload[payload.length - fields.left()] === 0xfb) {
      fields.u8();
      row.push(null);
    } else row.push(fields.counted().toString());
  }
  return row;
};

/** The rows of one result. @throws Failure `upstream_refused` with the server's message; the connection is still good then */
const readRows = async (talk: Exchange): Promise<Rows> => {
  const take = async (): Promise<Buffer> => {
    const payload = await talk.take();
    if (payload[0] === heads.error) throw serverError(payload);
    return payload;
  };
  const first = await take();
  if (first[0] === heads.ok) return [];
  if (first[0] === heads.file) throw new Failure("unsupported", "a statement here may not load files");
  for (let column = reader(first).lenenc(); column > 0; column--) await take();
  if (!isEnd(await take())) throw new Failure("protocol", "columns without an end");
  const rows: (readonly (string | null)[])[] = [];
  for (;;) {
    const payload = await take();
    if (isEnd(payload)) return rows;
    rows.push(rowOf(payload));
  }
};

const hex = (text: string): string => (text === "" ? "''" : `0x${Buffer.from(text).toString("hex")}`);
const variable = (value: string | null): string => (value === null ? "NULL" : `CONVERT(${hex(value)} USING utf8mb4)`);

const query = async (server: Server, statement: string): Promise<Rows> => {
  const words = { code: "upstream_unreachable", words: "the database closed the connection too early" } as const;
  const payload = Buffer.concat([Buffer.of(commands.query), Buffer.from(statement)]);
  server.socket.write(packets(payload));
  return readRows(exchange(server.socket, { ...words, budget: statementBytes }, 1));
};

const runWith = async (server: Server, statement: string, values: readonly (string | null)[]): Promise<Rows> => {
  const names = values.map((_, at) => `@sallyport_${at}`);
  const set = [
    `@sallyport=${variable(statement)}`,
    ...names.map((name, at) => `${name}=${variable(values[at] ?? null)}`),
  ];
  await query(server, `SET ${set.join(", ")}`);
  await query(server, "PREPARE sallyport FROM @sallyport");
  try {
    return await query(server, `EXECUTE sallyport${names.length > 0 ? ` USING ${names.join(", ")}` : ""}`);
  } finally {
    if (!server.socket.destroyed) await query(server, "DEALLOCATE PREPARE sallyport");
  }
};

/** @throws Failure `upstream_refused` with the server's message, number and SQLSTATE; the connection is still good then */
export const run = async (server: Server, statement: string, values?: readonly (string | null)[]): Promise<Rows> => {
  try {
    return await (values ? runWith(server, statement, values) : query(server, statement));
  } catch (thrown) {
    const failure = wordedUpstream(thrown);
    // what the server refused, it refused in full: the next statement finds the connection in order
    if (failure.code !== "upstream_refused" || failure.details?.["errno"] === undefined) server.socket.destroy();
    throw failure;
  }
};
