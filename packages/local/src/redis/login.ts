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

/** Where in the words of AUTH or HELLO the users are, in the order in which Redis logs them in; each one's password comes next. */
const usersIn = (words: readonly Buffer[]): readonly number[] => {
  if (is(words[0], "AUTH")) return words.length === 3 ? [1] : [];
  const found: number[] = [];
  for (let at = 2; at < words.length; ) {
    if (is(words[at], "AUTH") && at + 2 < words.length) {
      found.push(at + 1);
      at += 3;
    } else if (is(words[at], "SETNAME") && at + 1 < words.length) at += 2;
    else break;
  }
  return found;
};

export interface Login {
  readonly user: string;
  readonly password: string;
  /** Which of the words the password is. */
  readonly at: number;
}

export const loginsIn = (words: readonly Buffer[]): readonly Login[] =>
  usersIn(words).map((at) => ({
    user: words[at]?.toString("latin1") ?? "",
    password: words[at + 1]?.toString("latin1") ?? "",
    at: at + 1,
  }));

/** The same words with another password at these places. */
export const withPassword = (words: readonly Buffer[], places: ReadonlySet<number>, password: string): Buffer =>
  frontsWords(words.map((word, at) => (places.has(at) ? Buffer.from(password) : word)));
