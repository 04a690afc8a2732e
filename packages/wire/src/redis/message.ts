// What is written: commands, the few answers that are ours, and failures in Redis' own words. An inline command is read here and
// written as what it means.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import type { Failure, FailureCode } from "@sallyport/core/failure";
import { protocolError } from "./frame.ts";

/** All that a connection may say in one command until it is logged in. */
export const loginLimit = 16_384;

const crlf = Buffer.from("\r\n");

/** A command as every server takes it: an array of bulk strings. */
export const command = (...words: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => {
      const bytes = typeof word === "string" ? Buffer.from(word) : word;
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, crlf];
    }),
  ]);

/** An answer that is one word: `OK`. */
export const simple = (word: string): Buffer => Buffer.from(`+${word}\r\n`);

/** The first word of an error is what clients go by. */
const prefixes = {
  invalid: "ERR",
  too_large: "ERR",
  not_logged_in: "NOAUTH",
  bad_token: "WRONGPASS",
  denied: "NOPERM",
  not_found: "ERR",
  conflict: "ERR",
  too_many: "ERR",
  tls_required: "ERR",
  protocol: "ERR",
  unsupported: "ERR",
  timeout: "ERR",
  starting: "LOADING",
  draining: "ERR",
  ended: "ERR",
  audit_full: "ERR",
  unavailable: "ERR",
  upstream_unreachable: "ERR",
  upstream_untrusted: "ERR",
  upstream_refused: "ERR",
  internal: "ERR",
} as const satisfies Record<FailureCode, string>;

const longestError = 2_000;

/** A failure as one line, whoever wrote its words. */
const lineOf = ({ code, message, hint }: Failure): string => {
  const words = hint === undefined ? message : `${message} (${hint})`;
  return `${prefixes[code]} ${words.replace(/\p{Cc}+/gu, " ").slice(0, longestError)}`;
};

/** As the answer to a command. */
export const errorAnswer = (failure: Failure): Buffer => Buffer.from(`-${lineOf(failure)}\r\n`);
/** To nobody's question, where the client takes pushes. */
export const errorPush = (failure: Failure): Buffer => {
  const line = Buffer.from(lineOf(failure));
  return Buffer.concat([Buffer.from(`>2\r\n+disconnected\r\n$${line.length}\r\n`), line, crlf]);
};
/** In Redis' own words, prefix and all. */
export const errorLine = (line: string): Buffer => Buffer.from(`-${line}\r\n`);

/** What C takes for a space. */
const space = /[ \t\n\v\f\r]/;
const hexPair = /^[0-9a-fA-F]{2}$/;
const escapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };

/**
 * The words of an inline command, quoted as in a configuration file; in Latin-1, a character a byte.
 * @throws Failure `protocol` at quotes that don't match
 */
const splitInline = (line: string): readonly string[] => {
  const words: string[] = [];
  const unbalanced = (): Failure => protocolError("unbalanced quotes in request");
  for (let at = 0; ; ) {
    while (at < line.length && space.test(line[at] ?? "")) at++;
    if (at >= line.length) return words;
    let word = "";
    for (let quote = ""; ; at++) {
      const character = line[at];
      if (character === undefined) {
        if (quote !== "") throw unbalanced();
        break;
      }
      if (quote === "" && space.test(character)) break;
      if (quote === "" && (character === '"' || character === "'")) {
        quote = character;
        continue;
      }
      if (character === quote) {
        const behind = line[at + 1];
        if (behind !== undefined && !space.test(behind)) throw unbalanced();
        at++;
        break;
      }
      if (character !== "\\" || quote === "" || (quote === "'" && line[at + 1] !== "'")) {
        word += character;
        continue;
      }
      const [next = "", hex = ""] = [line[at + 1], line.slice(at + 2, at + 4)];
      if (next === "") throw unbalanced();
      if (quote === '"' && next === "x" && hexPair.test(hex)) {
        word += String.fromCharCode(Number.parseInt(hex, 16));
        at += 3;
      } else {
        word += quote === '"' ? (escapes[next] ?? next) : next;
        at++;
      }
    }
    words.push(word);
  }
};

/** An inline command as an array of bulk strings; undefined where the line is empty. `line` is without its end. @throws Failure `protocol` */
export const inlineCommand = (line: Buffer): Buffer | undefined => {
  // Redis would read up to the zero and call the rest another command
  if (line.includes(0)) throw protocolError("a zero byte in an inline request");
  const words = splitInline(line.toString("latin1"));
  return words.length === 0 ? undefined : command(...words.map((word) => Buffer.from(word, "latin1")));
};
