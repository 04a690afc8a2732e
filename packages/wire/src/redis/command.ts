// What a proxy knows of each command: how many arguments, where its keys stand, and by which rule it passes. Names are looked up
// in the bytes they came in. A command that is not known goes to the server as it is: the server's ACL is the boundary, and in a
// cluster the server itself says on which node its keys are.
// Rule: what is refused is refused by name with all of its subcommands; of ACL and CLUSTER only what is known passes.
import type { KeyFinder } from "./key.ts";
import * as data from "./table.ts";
import { foldedHash, isWord, type Words } from "./word.ts";

/** `script`: by the role option `scripts`. `login`: AUTH and HELLO, which are ruled on. `refused`: not through a proxy. */
export type Rule = "pass" | "refused" | "script" | "login";

export interface Command {
  /** In lower case; of a subcommand with its container: `client|setname`. */
  readonly name: string;
  readonly rule: Rule;
  /** With the name, and negative where it is the least. */
  readonly arity: number;
  /** Where keys stand, when that never changes: the first (0: none), the last (negative: from the end), the step. */
  readonly first: number;
  readonly last: number;
  readonly step: number;
  /** Where they stand when the arguments say it. */
  readonly find: KeyFinder | undefined;
  /** May it wait for somebody else? */
  readonly blocks: boolean;
  /** By the hash of their own names. */
  readonly subcommands: ReadonlyMap<number, Command> | undefined;
}

const blank = { arity: -1, first: 0, last: 0, step: 0, find: undefined, blocks: false, subcommands: undefined };
const split = (names: string): ReadonlySet<string> => new Set(names.split(" "));
const refused = split(data.refusedNames);
const closed = split(data.closedNames);
const scripts = split(data.scriptNames);
const logins = split(data.loginNames);
const blocking = split(data.blockingNames);
const refusedSubcommands = split(data.refusedSubcommands);

const ruleOf = (name: string): Rule => {
  const container = name.split("|")[0] ?? "";
  if (refused.has(container) || refusedSubcommands.has(name)) return "refused";
  if (scripts.has(container)) return "script";
  return logins.has(name) ? "login" : "pass";
};

type Dictionary = ReadonlyMap<number, Command>;
const hashOf = (name: string): number => foldedHash(Buffer.from(name), 0, name.length);

/** Every command of the table, and those that are refused without one. */
const entries: readonly Command[] = [
  ...data.table.flatMap(([places, names]) =>
    Object.entries(names).flatMap(([arity, list]) =>
      list.split(" ").map((name) => {
        const [first, last, step] = typeof places === "function" ? [0, 0, 0] : places;
        const find = typeof places === "function" ? places : undefined;
        const [rule, blocks] = [ruleOf(name), blocking.has(name)];
        return { name, rule, arity: Number(arity), first, last, step, find, blocks, subcommands: undefined };
      }),
    ),
  ),
];

/** By their hash. @throws when two can't be told apart by it */
const dictionary = (commands: readonly Command[], nameOf: (command: Command) => string): Dictionary => {
  const found = new Map(commands.map((command) => [hashOf(nameOf(command)), command]));
  if (found.size < commands.length) throw new Error("two commands have the same hash");
  return found;
};

const subcommandsOf = (container: string): Dictionary | undefined => {
  const own = entries.filter(({ name }) => name.startsWith(`${container}|`));
  return own.length === 0 ? undefined : dictionary(own, ({ name }) => name.slice(container.length + 1));
};

const unlisted = [...refused].filter((name) => entries.every((entry) => entry.name !== name));
const commands = dictionary(
  [
    ...entries
      .filter(({ name }) => !name.includes("|"))
      .map((command) => ({ ...command, subcommands: subcommandsOf(command.name) })),
    ...unlisted.map((name): Command => ({ ...blank, name, rule: "refused" })),
  ],
  ({ name }) => name,
);

/** The name behind the bar stands in the bytes, whatever its case. */
const isNamed = ({ name }: Command, words: Words, at: number): boolean =>
  isWord(words, at, at === 0 ? name : name.slice(name.indexOf("|") + 1));

const find = (dictionary: Dictionary, words: Words, at: number): Command | undefined => {
  const command = dictionary.get(foldedHash(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0));
  return command && isNamed(command, words, at) ? command : undefined;
};

// Redis may compare names up to a zero byte: to it this can be another command than to us
const cutOff: Command = { ...blank, name: "name with a zero byte", rule: "refused" };
const hasZero = ({ bytes, starts, ends }: Words, at: number): boolean =>
  bytes.subarray(starts[at], ends[at]).includes(0);

/** What is known of a command, or of its subcommand; undefined when it isn't known. An unknown subcommand is its container's. */
export const findCommand = (words: Words): Command | undefined => {
  const command = words.count > 0 ? find(commands, words, 0) : undefined;
  if (!command) return words.count > 0 && hasZero(words, 0) ? cutOff : undefined;
  if (!command.subcommands || words.count < 2) return command;
  const found = find(command.subcommands, words, 1);
  if (found) return found;
  if (hasZero(words, 1)) return cutOff;
  return closed.has(command.name) ? closedOf(command) : command;
};
const closedOf = (container: Command): Command => ({ ...container, rule: "refused" });

/** Has it as many arguments as it takes? */
export const fits = ({ arity }: Command, { count }: Words): boolean => (arity < 0 ? count >= -arity : count === arity);

/** Calls `visit` with each argument that is a key, in order. */
export const eachKey = (command: Command, words: Words, visit: (at: number) => void): void => {
  if (command.find) {
    for (const at of command.find(words)) visit(at);
    return;
  }
  if (command.first === 0) return;
  const last = Math.min(command.last < 0 ? words.count + command.last : command.last, words.count - 1);
  for (let at = command.first; at <= last; at += command.step) visit(at);
};

/** May this one wait for somebody else? A stream is read at once unless it says BLOCK. */
export const mayBlock = (command: Command, words: Words): boolean => {
  if (!command.blocks || !command.find || !command.name.startsWith("x")) return command.blocks;
  for (let at = 1; at < words.count; at++) {
    if (isWord(words, at, "block")) return true;
    if (isWord(words, at, "streams")) return false;
  }
  return false;
};
