// KILL, where it names a connection by the id that our own greeting gave it: no server knows that id, so the proxy carries the
// statement out itself. Read are the forms that clients send for Ctrl-C and cancel(); any other goes to the server.
// https://dev.mysql.com/doc/refman/8.4/en/kill.html · https://mariadb.com/kb/en/kill/

export interface Kill {
  readonly what: "query" | "connection";
  readonly connection: number;
}

/** Longer ones are no client's. */
export const longestKill = 1_024;

const blanks = /\s+|\/\*(?!M?!)[^*]*\*\/|(?:--[^\S\n]|#)[^\n]*\n|--\n/g;
// one space at most wherever blanks may stand: with several in a row, how they are shared out would cost their power
const statement =
  /^ ?KILL (?:\/\*M?!\d* ?)?(?:(?:HARD|SOFT) )?(?:(QUERY|CONNECTION)(?: |(?=\*)))?(?:\*\/ ?)?(-?\d{1,10}) ?;? ?$/i;

/** Most statements show by their first letter that they are none. */
export const mayBeKill = (bytes: Buffer, from: number, to: number): boolean => {
  if (to - from > longestKill) return false;
  let at = from;
  while (at < to && (bytes[at] ?? 0) <= 0x20) at++;
  const first = bytes[at] ?? 0;
  // K, a comment
  return (first | 0x20) === 0x6b || first === 0x2f || first === 0x2d || first === 0x23;
};

export const parseKill = (text: string): Kill | undefined => {
  const [, what, id] = statement.exec(text.replace(blanks, " ").replace(/ +/g, " ")) ?? [];
  if (id === undefined) return undefined;
  // MariaDB Connector/J keeps the greeting's id in a signed integer, where ours are below zero
  const connection = id.startsWith("-") ? Number(id) >>> 0 : Number(id);
  return { what: what?.toLowerCase() === "query" ? "query" : "connection", connection };
};
