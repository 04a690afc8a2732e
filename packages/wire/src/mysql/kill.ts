// KILL, where it names a connection by the id that our own greeting gave it: no server knows that id, so the proxy carries the
// statement out itself. Read are the forms that clients send for Ctrl-C and cancel(); any other goes to the server.
// https://dev.mysql.com/doc/refman/8.4/en/kill.html · https://mariadb.com/kb/en/kill/

export interface Kill {
  readonly what: "query" | "connection";
  readonly connection: number;
}

/** Longer ones are no client's. */
export const longestKill = 1_024;

const blank = "(?:\\s|/\\*(?!M?!)[^*]*\\*/|(?:--\\s|#)[^\\n]*\\n)";
const marked = "(?:/\\*M?!\\d*)?";
const statement = new RegExp(
  `^${blank}*KILL${blank}+${marked}(?:(?:HARD|SOFT)${blank}+)?${blank}*(QUERY|CONNECTION)?${blank}*(?:\\*/)?${blank}*(-?\\d{1,10})${blank}*;?${blank}*$`,
  "i",
);

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
  const [, what, id] = statement.exec(text) ?? [];
  if (id === undefined) return undefined;
  // MariaDB Connector/J keeps the greeting's id in a signed integer, where ours are below zero
  const connection = id.startsWith("-") ? Number(id) >>> 0 : Number(id);
  return { what: what?.toLowerCase() === "query" ? "query" : "connection", connection };
};
