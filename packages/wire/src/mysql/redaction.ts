// Takes the passwords out of SQL text for the audit, also when a statement comes in parts. Only the literal goes, the rest stays
// as it was: behind IDENTIFIED … BY, AS, USING or REPLACE, behind PASSWORD, MASTER_PASSWORD, SOURCE_PASSWORD and whatever else ends
// so, everything that rds_set_external_… is called with, and from the place on where a literal holds such a statement or a URL
// with a password. Backslashes escape unless the server said that NO_BACKSLASH_ESCAPES is in force. A statement that would be another
// one to a server of another version hides nothing from there on: what ran is to be seen, and whoever wrote it showed it.
// https://dev.mysql.com/doc/refman/8.4/en/lexical-structure.html

export type Redactor = (text: string, last: boolean) => string;

const redacted = "'[redacted]'";
// what of a part waits for the next one, so that whatever begins before it is seen whole
const overlap = 1_024;
const word = /[\w$\u0080-\uffff]+/y;
const blank = /\s+/y;
/** A quote, with what may say its character set before it. */
const opening = /(?:[nNbBxX]|_[A-Za-z]\w*[ \t]*)?['"]/y;
const other = /[^\s\w$\u0080-\uffff'"`;#/*-]+/y;
const executable = /\/\*M?!\d*/y;
const inLiteral = /identified\s+(?:by|with|via)|password\s*(?:=|\(|\\?['"])|:\/\/[^\s:@/'"]*:[^\s@/'"]+@/i;
const afterIdentified = new Set(["by", "as", "using", "replace"]);

type Mode =
  | { readonly in: "code" | "line" | "block" | "name" | "shown" }
  | { readonly in: "literal"; readonly quote: string; readonly secret: boolean };
/** How many characters were dealt with, and what is shown for them. */
type Step = readonly [length: number, shown: string];

const match = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
};

/** Can there be anything to take out of a whole text? */
export const mayHoldSecret = (text: string): boolean => /password|identified|:\/\/|rds_set_external/i.test(text);

/** The same question of bytes, asked of every statement: the first and third letters decide it nearly always. */
export const bytesMayHoldSecret = (bytes: Buffer, from: number, to: number): boolean => {
  for (let at = from; at + 2 < to; at++) {
    const byte = bytes[at] ?? 0;
    const third = (bytes[at + 2] ?? 0) | 0x20;
    // pas, ide, rds, ://
    if (byte === 0x3a ? third === 0x2f : byte > 0x40 && isSuspect((byte | 0x20) * 256 + third)) return true;
  }
  return false;
};
const isSuspect = (pair: number): boolean => pair === 0x7073 || pair === 0x6965 || pair === 0x7273;

/** What makes a comment of two dashes: the end too, whose code is none. */
const isBlank = (code: number): boolean => !(code > 0x20) || code === 0x7f;

/** Looks for the closing quote before `limit`; `at` is where to go on when it is not there. */
const close = (text: string, from: number, limit: number, quote: string, escapes: boolean) => {
  let at = from;
  while (at < limit) {
    if (text[at] === quote && text[at + 1] !== quote) return { end: at, at };
    at += text[at] === quote || (escapes && text[at] === "\\") ? 2 : 1;
  }
  return { end: -1, at: Math.min(at, text.length) };
};

/** One a statement; its parts go through it in order. */
export const redactor = (escapes = true): Redactor => {
  let mode: Mode = { in: "code" };
  let versioned = false; //  within a comment that some servers execute and some do not
  let carried = "";
  let previous = "";
  let identified = false; // since the last semicolon
  let setting = false; //    SET PASSWORD: its `=` comes later
  let everything = false; // every literal is a secret
  let expecting = false; //  the next literal is one

  const named = (text: string): Step => {
    if (expecting && /^0x/i.test(text)) return [text.length, redacted];
    const lower = text.toLowerCase();
    identified ||= lower === "identified";
    everything ||= lower.startsWith("rds_set_external");
    setting ||= lower === "password" && previous === "set";
    const follows = (identified || setting) && afterIdentified.has(lower);
    expecting = follows || lower.endsWith("password");
    previous = lower;
    return [text.length, text];
  };

  const punctuation = (text: string, at: number): Step => {
    const some = match(other, text, at) ?? text.charAt(at);
    if (some === ";") identified = setting = everything = false;
    if (some === "*" && text[at + 1] === "/") versioned = false;
    expecting = /^[=:(]+$/.test(some) && (expecting || setting);
    return [some.length, some];
  };

  /** A comment's opening. What stands in an executable one is code. */
  const comment = (text: string, at: number): Step | undefined => {
    const found = match(executable, text, at);
    if (found) {
      versioned = found !== "/*!";
      return [found.length, found];
    }
    const two = text.slice(at, at + 2);
    if (text[at] === "#" || (two === "--" && isBlank(text.charCodeAt(at + 2)))) mode = { in: "line" };
    else if (two === "/*") mode = { in: "block" };
    else return undefined;
    return two === "/*" ? [2, two] : [1, text.charAt(at)];
  };

  const code = (text: string, at: number): Step => {
    const literal = match(opening, text, at);
    if (literal) {
      const secret = expecting || everything;
      mode = { in: "literal", quote: literal.slice(-1), secret };
      return [literal.length, secret ? redacted : literal];
    }
    const spaces = match(blank, text, at);
    if (spaces) return [spaces.length, spaces];
    const text1 = match(word, text, at);
    if (text1) return named(text1);
    if (text[at] === "`") {
      mode = { in: "name" };
      expecting = false;
      return [1, "`"];
    }
    return comment(text, at) ?? punctuation(text, at);
  };

  /** On with a comment, a name or a literal: to its end, or to `limit`. */
  const inside = (text: string, at: number, limit: number): Step => {
    const upTo = (end: number): Step => [end - at, text.slice(at, end)];
    /** What one server takes for a literal's or a comment's is another's end of the comment around it. */
    const unsure = (end: number): boolean => versioned && mode.in !== "block" && text.slice(at, end).includes("*/");
    const leave = (end: number): Step => {
      mode = { in: unsure(end) ? "shown" : "code" };
      return upTo(end);
    };
    if (mode.in === "shown") return upTo(limit);
    if (mode.in === "line" || mode.in === "block") {
      const end = text.indexOf(mode.in === "line" ? "\n" : "*/", at);
      if (end < 0) return unsure(limit) ? leave(limit) : upTo(limit);
      return leave(mode.in === "line" ? end : end + 2);
    }
    if (mode.in !== "literal") {
      const found = close(text, at, limit, "`", false);
      return found.end < 0 ? upTo(found.at) : leave(found.end + 1);
    }
    const { quote, secret } = mode;
    const found = close(text, at, limit, quote, escapes);
    if (unsure(found.end < 0 ? found.at : found.end)) return leave(found.end < 0 ? found.at : found.end + 1);
    const closed = found.end >= 0;
    const hit = secret ? undefined : inLiteral.exec(text.slice(at, closed ? found.end : text.length));
    const hidden = hit && at + hit.index < (closed ? found.end : found.at);
    if (hidden && !closed) mode = { in: "literal", quote, secret: true };
    const [length, shown] = closed ? leave(found.end + 1) : upTo(found.at);
    if (secret) return [length, ""];
    return [length, hidden ? `${shown.slice(0, hit.index)}[redacted]${quote}` : shown];
  };

  return (part, last) => {
    const all = carried + part;
    if (last && carried === "" && mode.in === "code" && previous === "" && !mayHoldSecret(all)) return all;
    const limit = last ? all.length : all.length - overlap;
    let shown = "";
    let at = 0;
    while (at < limit) {
      const [length, text] = mode.in === "code" ? code(all, at) : inside(all, at, limit);
      if (length === 0 && mode.in !== "code") break;
      at += length;
      shown += text;
    }
    carried = all.slice(at);
    return shown;
  };
};
