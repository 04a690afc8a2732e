// Takes the passwords out of SQL text for the audit, also when a statement comes in parts. Only the literal goes, the rest
// stays as it was: PASSWORD '…' behind CREATE or ALTER of a user, role, group, server or subscription (escape, Unicode and
// dollar quotes, comments between), and password=… or a URL's password inside any literal.
// https://www.postgresql.org/docs/18/sql-syntax-lexical.html

export type Redactor = (text: string, last: boolean) => string;

const redacted = "'[redacted]'";
// what of a part waits for the next one, so that whatever begins before it is seen whole
const overlap = 1_024;
const longestKept = 4_096;
const word = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const blank = /\s+/y;
const prefixed = /(?:[eEnNbBxX]|[uU]&)?'/y;
const tag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const other = /[^\sA-Za-z_\u0080-\uffff'"$;/-]+/y;
const edge = /\*\/|\/\*/g;

const objects = new Set(["user", "role", "group", "server", "subscription"]);

const patterns: readonly (readonly [RegExp, string])[] = [
  // conninfo: a word, or a quoted value, its quotes doubled or escaped because they stand in a literal
  [/(password\s*=\s*)(?:''(?:[^'\\]|\\[^'])*(?:''|\\'|$)|\\'[^']*(?:\\'|$)|[^\s'"&\\]+)/gi, "$1[redacted]"],
  // SQL inside a literal: EXECUTE 'alter user … password ''…'''
  [/(password\s+)(?:[eE]|[uU]&)?(?:''(?:[^']|'''')*(?:''|$)|\\'[^']*(?:\\'|$))/gi, "$1''[redacted]''"],
  [/(:\/\/[^\s:@/']*:)[^\s@/']+@/g, "$1[redacted]@"],
];
const redactLiteral = (text: string): string =>
  patterns.reduce((all, [pattern, instead]) => all.replace(pattern, instead), text);

/** Where a piece of an unfinished literal may be cut: before anything near its end that may begin a pattern. */
const cut = (piece: string): number => {
  const tail = piece.slice(-longestKept);
  const begun = tail.search(/password|:\/\/|(?:p|pa|pas|pass|passw|passwo|passwor|:|:\/)$/i);
  return begun < 0 ? piece.length : piece.length - tail.length + begun;
};

/** Looks for the closing quote before `limit`; `at` is where to go on when it is not there. A doubled quote and, with `escapes`, a backslash do not close. */
const close = (text: string, from: number, limit: number, quote: string, escapes: boolean) => {
  let at = from;
  while (at < limit) {
    if (text[at] === quote && text[at + 1] !== quote) return { end: at, at };
    at += text[at] === quote || (escapes && text[at] === "\\") ? 2 : 1;
  }
  return { end: -1, at: Math.min(at, text.length) };
};

type Mode =
  | { readonly in: "code" | "line" | "name" }
  | { readonly in: "block"; readonly depth: number }
  | { readonly in: "literal"; readonly escapes: boolean; readonly secret: boolean }
  | { readonly in: "dollar"; readonly tag: string };
/** How many characters were dealt with, and what is shown for them. */
type Step = readonly [length: number, shown: string];

const match = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
};

/** Can there be anything to take out of a whole text? */
export const mayHoldSecret = (text: string): boolean => /password|:\/\//i.test(text);

/** The same of bytes, and sooner yes than no: looks for the beginnings `pas` and `:/`. */
export const bytesMayHoldSecret = (bytes: Uint8Array, from: number, to: number): boolean => {
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x3a) {
      if (bytes[at + 1] === 0x2f) return true;
    } else if (
      (byte | 0x20) === 0x70 &&
      ((bytes[at + 1] ?? 0) | 0x20) === 0x61 &&
      ((bytes[at + 2] ?? 0) | 0x20) === 0x73
    )
      return true;
  }
  return false;
};

/** One a statement; its parts go through it in order. */
export const redactor = (): Redactor => {
  let mode: Mode = { in: "code" };
  let carried = "";
  let previous = "";
  let armed = false; //     CREATE ROLE and the like have been seen
  let expecting = false; // PASSWORD was the last word

  const named = (name: string): Step => {
    const lower = name.toLowerCase();
    armed ||= objects.has(lower) && (previous === "create" || previous === "alter");
    expecting = armed && lower === "password";
    previous = lower;
    return [name.length, name];
  };

  const punctuation = (text: string, at: number): Step => {
    const quote = match(tag, text, at);
    // the body of a function or DO block is code too; only a secret is a literal
    if (quote && expecting) {
      mode = { in: "dollar", tag: quote };
      return [quote.length, redacted];
    }
    expecting = false;
    if (text[at] === '"') mode = { in: "name" };
    if (text[at] === ";") armed = false;
    const rest = quote ?? match(other, text, at) ?? text.charAt(at);
    return [rest.length, rest];
  };

  const code = (text: string, at: number): Step => {
    const literal = match(prefixed, text, at);
    if (literal) {
      mode = { in: "literal", escapes: /^e/i.test(literal), secret: expecting };
      return [literal.length, expecting ? redacted : literal];
    }
    const name = match(word, text, at);
    if (name) return named(name);
    const spaces = match(blank, text, at);
    if (spaces) return [spaces.length, spaces];
    if (text.startsWith("--", at)) mode = { in: "line" };
    else if (text.startsWith("/*", at)) mode = { in: "block", depth: 1 };
    else return punctuation(text, at);
    return [2, text.slice(at, at + 2)];
  };

  /** On with a comment, a name or a literal: to its end, or to `limit`. */
  const inside = (text: string, at: number, limit: number): Step => {
    const upTo = (end: number): Step => [end - at, text.slice(at, end)];
    const leave = (end: number): Step => {
      mode = { in: "code" };
      return upTo(end);
    };
    if (mode.in === "line") {
      const end = text.indexOf("\n", at);
      return end < 0 ? upTo(limit) : leave(end);
    }
    if (mode.in === "block") {
      edge.lastIndex = at;
      const found = edge.exec(text);
      if (!found) return upTo(limit);
      const depth = mode.depth + (found[0] === "/*" ? 1 : -1);
      if (depth === 0) return leave(found.index + 2);
      mode = { in: "block", depth };
      return upTo(found.index + 2);
    }
    if (mode.in === "dollar") {
      const end = text.indexOf(mode.tag, at);
      return [(end < 0 ? upTo(limit) : leave(end + mode.tag.length))[0], ""];
    }
    if (mode.in === "literal") {
      const { escapes, secret } = mode;
      const found = close(text, at, limit, "'", escapes);
      const [length, shown] = found.end < 0 ? upTo(found.at) : leave(found.end + 1);
      if (secret) return [length, ""];
      const whole = found.end >= 0 || limit === text.length ? length : cut(shown);
      return [whole, redactLiteral(shown.slice(0, whole))];
    }
    // a name is compared whole: what is behind the limit is there for it, but for a last quote that may be half of two
    const reach = limit === text.length ? limit : text.length - 1;
    const found = close(text, at, reach, '"', false);
    if (found.end < 0) return upTo(found.at);
    expecting = armed && text.slice(at, found.end).toLowerCase() === "password";
    return leave(found.end + 1);
  };

  return (part, last) => {
    const all = carried + part;
    if (last && mode.in === "code" && !armed && !mayHoldSecret(all)) return all;
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
