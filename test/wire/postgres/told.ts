// Messages of PostgreSQL's, and the lines of the audit that they make.
import type { Statement } from "@sallyport/core/audit";
import { frames } from "@sallyport/wire/postgres/frame";
import { fromClient, fromServer } from "@sallyport/wire/postgres/message";
import { observeClient, observeServer } from "@sallyport/wire/postgres/statement";
import { expect } from "vitest";
import { int32, message } from "../door.ts";
import { lineOf } from "../line.ts";

export const int16 = (value: number): Buffer => int32(value).subarray(2);

/** The lines that whole messages make. */
export const told = (bytes: Buffer, from: "client" | "server" = "client"): Readonly<Record<string, unknown>>[] => {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const record = (statement: Statement): void => {
    const { part, last } = statement;
    lines.push({ ...lineOf(statement), ...(part === undefined ? {} : { part, last }) });
  };
  const followed =
    from === "client"
      ? frames(fromClient, observeClient(record))
      : frames(
          fromServer,
          observeServer(record, () => 0),
        );
  for (let at = 0; at < bytes.length; ) {
    const passed = followed.scan(bytes.subarray(at));
    expect(passed).toBeGreaterThan(0);
    at += passed;
  }
  return lines;
};
export const bind = (
  portal: string,
  name: string,
  formats: number[],
  values: (Buffer | string | null)[],
  results: number[] = [],
) =>
  message(
    "B",
    `${portal}\0${name}\0`,
    int16(formats.length),
    ...formats.map(int16),
    int16(values.length),
    ...values.flatMap((value) => (value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), value])),
    int16(results.length),
    ...results.map(int16),
  );
