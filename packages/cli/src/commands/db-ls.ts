// sally db ls: the databases my roles let me reach, and how.
import type { ReachableDatabase } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { compileSelector } from "@sallyport/core/label";
import { isReserved } from "@sallyport/core/naming";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { readList } from "../option.ts";
import { openApi } from "../profile.ts";
import { commandLine } from "../shell.ts";
import { printTable } from "../table.ts";
import { note, withProgress } from "../terminal.ts";

interface Options {
  readonly search?: readonly string[];
  readonly verbose?: true;
  readonly format: Format;
}

/** `env=prod,team=a*` as a selector, its values as in a role. @throws Failure `invalid` */
export const parseSelector = (text: string): ((database: Pick<ReachableDatabase, "labels">) => boolean) => {
  const pairs = text.split(",").map((part): [string, string[]] => {
    const at = part.indexOf("=");
    if (at < 1)
      throw new Failure("invalid", `${JSON.stringify(part)} is not a selector`, { hint: "write labels as key=value" });
    return [part.slice(0, at).trim(), [part.slice(at + 1).trim()]];
  });
  if (new Set(pairs.map(([key]) => key)).size < pairs.length)
    throw new Failure("invalid", "a label is named twice", { hint: "name each label once; a value may be a glob: a*" });
  const test = compileSelector(Object.fromEntries(pairs));
  return ({ labels }) => test(labels);
};

/** Every word must stand somewhere in the name, description or labels. */
const parseSearch =
  (words: readonly string[]): ((database: ReachableDatabase) => boolean) =>
  ({ name, description, labels }) => {
    const text = [name, description, ...Object.entries(labels).flat()].join("\n").toLowerCase();
    return words.every((word) => text.includes(word.toLowerCase()));
  };

/** A command that works as it stands where the roles name one user and one database name; else with a word to fill in. */
const connectCommand = ({ name, users }: ReachableDatabase): string => {
  const [first] = users;
  const names = first?.names ?? [];
  const user =
    users.length === 1 && first?.user !== "*" ? [] : ["-u", users.find((u) => u.user !== "*")?.user ?? "USER"];
  const dbName = names.length === 0 || (names.length === 1 && names[0] !== "*") ? [] : ["-n", "NAME"];
  return commandLine(["sally", "db", "connect", name, ...user, ...dbName]);
};

/** The tags somebody chose; with `all` what discovery derived too. */
const labelText = (labels: Readonly<Record<string, string>>, all: boolean): string =>
  Object.entries(labels)
    .filter(([key]) => all || !isReserved(key))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

const columns: readonly { head: string; verbose?: true; cell(database: ReachableDatabase, all: boolean): string }[] = [
  { head: "Name", cell: ({ name }) => name },
  { head: "Description", cell: ({ description }) => description },
  { head: "Protocol", verbose: true, cell: ({ protocol }) => protocol },
  { head: "Kind", verbose: true, cell: ({ kind }) => kind },
  { head: "Endpoint", verbose: true, cell: ({ endpoint }) => `${endpoint.host}:${endpoint.port}` },
  { head: "Status", verbose: true, cell: ({ status, reason }) => (reason ? `${status}: ${reason}` : status) },
  { head: "Allowed Users", cell: ({ users }) => users.map(({ user }) => user).join(", ") },
  { head: "Labels", cell: ({ labels }, all) => labelText(labels, all) },
  { head: "Connect", cell: connectCommand },
];

const act = async (context: Context, selector: string | undefined, options: Options): Promise<void> => {
  const tests = [
    ...(selector === undefined ? [] : [parseSelector(selector)]),
    ...(options.search === undefined ? [] : [parseSearch(options.search)]),
  ];
  const { databases } = await withProgress(context, "listing databases", openApi(context).call("databases", {}));
  const found = databases
    .filter((database) => tests.every((test) => test(database)))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  printAs(context, options.format, found, () => {
    if (found.length === 0) {
      note(context, tests.length > 0 ? "no database that you may reach matches" : "your roles reach no database");
      return;
    }
    const shown = columns.filter((column) => options.verbose || !column.verbose);
    printTable(
      context,
      shown.map(({ head }) => head),
      found.map((database) => shown.map(({ cell }) => cell(database, options.verbose ?? false))),
    );
  });
};

export const dbLs = (db: Command, context: Context): void => {
  db.command("ls")
    .description("list the databases you may reach")
    .argument("[labels]", "key=value,… that must all match; a value may be a glob")
    .option("--search <words>", "words, separated by commas, that must all occur", readList)
    .option("-v, --verbose", "protocol, kind, endpoint, status and derived labels too")
    .addOption(formatOption(listing))
    .action((selector: string | undefined, options: Options) => act(context, selector, options));
};
