// A whole answer taken apart: its elements as the bytes they came in, its text, its number. For answers that are read, merged or
// worded anew; what only passes is never taken apart.
// https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
import { Failure } from "@sallyport/core/failure";
import { openReplies, types } from "./reply.ts";

const lf = 0x0a;

const unexpected = (): Failure =>
  new Failure("upstream_refused", "a node of the cluster answered with what was not asked for", {
    hint: "look at what stands at the endpoint",
  });

export const kindOf = (answer: Buffer): number => answer[0] ?? 0;
export const isError = (answer: Buffer): boolean => kindOf(answer) === types.error || kindOf(answer) === types.blob;

/** Where the first line ends, behind its newline. */
const headEnd = (answer: Buffer): number => answer.indexOf(lf) + 1;
const head = (answer: Buffer): string => answer.toString("latin1", 1, Math.max(1, headEnd(answer) - 2));

/** The elements of an array, a set, a push, or a map (keys and values in turn). @throws Failure when it is none of these */
export const elementsOf = (answer: Buffer): readonly Buffer[] => {
  const kind = kindOf(answer);
  if (kind !== types.array && kind !== types.set && kind !== types.push && kind !== types.map) throw unexpected();
  const found: Buffer[] = [];
  const replies = openReplies();
  for (let at = headEnd(answer); at < answer.length; ) {
    const end = replies.next(answer, at);
    if (end < 0) throw unexpected();
    found.push(answer.subarray(at, end));
    at = end;
  }
  return found;
};

/** A string's bytes, of whatever kind it is; undefined where it is nothing. @throws Failure when it is no string */
export const bytesOf = (answer: Buffer): Buffer | undefined => {
  const kind = kindOf(answer);
  if (kind === types.nothing || (kind === types.bulk && answer[1] === 0x2d)) return undefined;
  if (kind === types.text || kind === types.number || kind === types.double || kind === types.big)
    return answer.subarray(1, -2);
  // a verbatim string begins with its format: `txt:`
  if (kind === types.verbatim) return answer.subarray(headEnd(answer) + 4, -2);
  if (kind !== types.bulk) throw unexpected();
  return answer.subarray(headEnd(answer), -2);
};

export const textOf = (answer: Buffer): string | undefined => bytesOf(answer)?.toString();

/** @throws Failure when it is no whole number */
export const numberOf = (answer: Buffer): number => {
  const value = kindOf(answer) === types.number ? Number(head(answer)) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw unexpected();
  return value;
};

export const number = (value: number | bigint): Buffer => Buffer.from(`:${value}\r\n`);
export const bulk = (text: string | Uint8Array): Buffer => {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n")]);
};
export const array = (elements: readonly Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.from(`*${elements.length}\r\n`), ...elements]);
export const ok: Buffer = Buffer.from("+OK\r\n");
