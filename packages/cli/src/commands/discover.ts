// sally discover: runs discovery now, or says what it would change.
import { Failure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { openApi } from "../profile.ts";
import { printTable } from "../table.ts";
import { note, printable, withProgress } from "../terminal.ts";

interface Options {
  readonly dryRun?: true;
  readonly format: Format;
}

const act = async (context: Context, { dryRun, format }: Options): Promise<void> => {
  const input = dryRun ? { dryRun } : {};
  const { runs } = await withProgress(context, "discovering", openApi(context).call("discover", input));
  printAs(context, format, runs, () => {
    const would = dryRun ? "Would write" : "Written";
    const gone = dryRun ? "Would remove" : "Removed";
    if (runs.length === 0) note(context, "nothing to look through: create a discovery_config first");
    else
      printTable(
        context,
        ["Listing", "Found", would, gone],
        runs.map((run) => [run.listing, String(run.found), run.written.join(", "), run.removed.join(", ")]),
      );
    for (const run of runs)
      for (const warning of run.warnings) note(context, `warning: ${printable(`${run.listing}: ${warning}`)}`);
  });
  const failed = runs.filter((run) => run.error !== undefined);
  if (failed.length > 0)
    throw new Failure("unavailable", failed.map((run) => `${run.listing}: ${run.error}`).join("\n"), {
      hint: "nothing is removed after a listing that failed; mend it and run this again",
    });
};

export const discover = (program: Command, context: Context): void => {
  program
    .command("discover")
    .description("look for databases now")
    .option("--dry-run", "only say what would change")
    .addOption(formatOption(listing))
    .action((options: Options) => act(context, options));
};
