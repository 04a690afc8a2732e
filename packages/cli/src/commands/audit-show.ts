// sally audit show: the audit's lines for people, from files. What was said is shown, never obeyed.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { printTable } from "../table.ts";
import { note, printable, withProgress } from "../terminal.ts";
import { readTrail } from "../trail.ts";

interface Options {
  readonly session?: string;
  readonly format: Format;
}

const own = new Set(["session", "chain", "seq", "at"]);

const act = async (context: Context, paths: readonly string[], options: Options): Promise<void> => {
  const { sessions, problems } = await withProgress(context, "reading the audit", readTrail(paths, options.session));
  const lines = [...sessions.values()]
    .flat()
    .sort((a, b) => a.at - b.at || (a.session === b.session ? a.seq - b.seq : a.session < b.session ? -1 : 1));
  const said = lines.map(({ session, chain, bytes }): Record<string, unknown> => {
    return { session, chain, ...JSON.parse(Buffer.from(bytes).toString()) };
  });
  printAs(context, options.format, said, () => {
    printTable(
      context,
      ["At", "Session", "Line", "Said"],
      said.map((line, index) => [
        new Date(lines[index]?.at ?? 0).toISOString(),
        String(line["session"]),
        String(line["seq"]),
        JSON.stringify(Object.fromEntries(Object.entries(line).filter(([name]) => !own.has(name)))),
      ]),
    );
    for (const problem of problems) note(context, `problem: ${printable(problem)}`);
  });
};

export const auditShow = (audit: Command, context: Context): void => {
  audit
    .command("show")
    .description("print records from files, in the order of time")
    .argument("<path...>", "folders or files of the audit's lines")
    .option("--session <id>", "only this one")
    .addOption(formatOption(listing))
    .action((paths: readonly string[], options: Options) => act(context, paths, options));
};
