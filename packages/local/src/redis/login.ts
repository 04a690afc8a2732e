// Logins as Redis takes them, AUTH and HELLO with AUTH in it, and how the front has the server let in who has shown a token: by
// the same command, with the password that only the front knows in the token's place.
const frontsWords = (words: readonly Buffer[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from("\r\n")]),
  ]);

/** AUTH without a word: the server refuses it, and a transaction it comes in. */
export const emptyAuth = frontsWords([Buffer.from("AUTH")]);

const is = (word: Buffer | undefined, name: string): boolean => word?.toString("latin1").toUpperCase() === name;

/** Where in the words of AUTH or HELLO the user of each login is; its password comes next. Nothing where Redis takes it for no login. */
const usersIn = (words: readonly Buffer[]): readonly number[] => {
  if (is(words[0], "AUTH")) return words.length === 3 ? [1] : [];
  const found: number[] = [];
  for (let at = 2; at < words.length; ) {
    if (is(words[at], "AUTH") && at + 2 < words.length) {
      found.push(at + 1);
      at += 3;
    } else if (is(words[at], "SETNAME") && at + 1 < words.length) at += 2;
    else return [];
  }
  return found;
};

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** The last login in these words, which is the one that counts. */
export const parseLogin = (words: readonly Buffer[]): Login | undefined => {
  const at = usersIn(words).at(-1);
  return at === undefined
    ? undefined
    : { user: words[at]?.toString("latin1") ?? "", password: words[at + 1]?.toString("latin1") ?? "" };
};

/** The same words with another password in the last login. */
export const withPassword = (words: readonly Buffer[], password: string): Buffer => {
  const at = usersIn(words).at(-1) ?? 0;
  return frontsWords(words.map((word, index) => (index === at + 1 ? Buffer.from(password) : word)));
};
