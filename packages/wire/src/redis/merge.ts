// One answer made of several nodes', worded as one Redis would. The first error is the answer to all: what other nodes have done by
// then stays done, as it does without a proxy.

import { array, bulk, bytesOf, elementsOf, isError, kindOf, number, numberOf, ok, textOf } from "./element.ts";
import type { Version } from "./lane.ts";
import { types } from "./reply.ts";
import { foldedHash } from "./word.ts";

export type Merge = (answers: readonly Buffer[], version: Version) => Buffer;

const errorAmong = (answers: readonly Buffer[]): Buffer | undefined => answers.find(isError);
const orError =
  (merge: Merge): Merge =>
  (answers, version) =>
    errorAmong(answers) ?? merge(answers, version);

export const first: Merge = orError(([answer]) => answer ?? ok);
export const sum: Merge = orError((answers) => number(answers.reduce((total, answer) => total + numberOf(answer), 0)));
export const least: Merge = orError((answers) => number(Math.min(...answers.map(numberOf))));

/** Place by place: whether a script is known to all, how many copies all have. */
export const leastEach: Merge = orError((answers) => {
  const rows = answers.map((answer) => elementsOf(answer).map(numberOf));
  return array((rows[0] ?? []).map((_, at) => number(Math.min(...rows.map((row) => row[at] ?? 0)))));
});
export const concatenated: Merge = orError((answers) => array(answers.flatMap(elementsOf)));
export const united: Merge = orError((answers) => {
  const found = new Map(answers.flatMap(elementsOf).map((element) => [element.toString("latin1"), element]));
  return array([...found.values()]);
});
/** Names and counts in turn. */
export const countedEach: Merge = orError((answers) => {
  const rows = answers.map(elementsOf);
  return array(
    (rows[0] ?? []).map((name, at) =>
      at % 2 === 0 ? name : number(rows.reduce((total, row) => total + numberOf(row[at] ?? number(0)), 0)),
    ),
  );
});
/** Whoever had something to stop; what the others say when nobody had. */
export const anyOk: Merge = (answers) => answers.find((answer) => !isError(answer)) ?? errorAmong(answers) ?? ok;
/** Counts are added up; where they aren't counts, one has done it for all. */
export const sumOrAny: Merge = (answers, version) =>
  answers.every((answer) => kindOf(answer) === types.number) ? sum(answers, version) : anyOk(answers, version);
const hashOf = (answers: readonly Buffer[]): number => {
  const bytes = Buffer.concat(answers);
  return foldedHash(bytes, 0, bytes.length) >>> 0;
};
/** One of those that have something: which, their own choice decides. */
export const any: Merge = orError((answers) => {
  const full = answers.filter((answer) => bytesOf(answer) !== undefined);
  return full[hashOf(full) % full.length] ?? answers[0] ?? ok;
});

const keyspace = /^(db\d+):keys=(\d+),expires=(\d+),avg_ttl=(\d+)(.*)$/;
/** The first one's INFO, with the keys of all. */
export const info: Merge = orError((answers) => {
  const [one = "", ...others] = answers.map((answer) => textOf(answer) ?? "");
  const whole = answers[0] ?? ok;
  const heading = one.indexOf("# Keyspace");
  if (heading < 0) return whole;
  const totals = new Map<string, { keys: number; expires: number; ttl: number; rest: string }>();
  for (const line of [one, ...others].flatMap((text) => text.split("\r\n"))) {
    const [, db, keys = 0, expires = 0, ttl = 0, rest = ""] = keyspace.exec(line) ?? [];
    if (db === undefined) continue;
    const so = totals.get(db) ?? { keys: 0, expires: 0, ttl: 0, rest };
    const timed = so.expires + Number(expires);
    const mean = timed > 0 ? Math.round((so.ttl * so.expires + Number(ttl) * Number(expires)) / timed) : 0;
    totals.set(db, { keys: so.keys + Number(keys), expires: timed, ttl: mean, rest: so.rest });
  }
  const lines = one.split("\r\n").filter((line) => !keyspace.test(line));
  lines.splice(
    lines.indexOf("# Keyspace") + 1,
    0,
    ...[...totals].map(
      ([db, { keys, expires, ttl, rest }]) => `${db}:keys=${keys},expires=${expires},avg_ttl=${ttl}${rest}`,
    ),
  );
  const text = lines.join("\r\n");
  if (kindOf(whole) !== types.verbatim) return bulk(text);
  return Buffer.from(`=${Buffer.byteLength(text) + 4}\r\ntxt:${text}\r\n`);
});
