// Text for a POSIX shell. Single quotes, always: inside them nothing is special, so no name can run a command (S-47).

export const quote = (text: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

export const commandLine = (words: readonly string[]): string => words.map(quote).join(" ");

/** `export NAME='value'` lines; names are ours. */
export const exportLines = (variables: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(variables).map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`);
