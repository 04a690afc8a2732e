// sally doctor: what is wrong, and how to mend it. Ends with 1 when something is.
import type { Finding } from "@sallyport/core/api";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { openApi } from "../profile.ts";
import { colour, printable, say, withProgress } from "../terminal.ts";

const colours = { ok: "green", warning: "yellow", problem: "red" } as const satisfies Record<Finding["level"], string>;

const act = async (context: Context, name: string | undefined, { format }: { format: Format }): Promise<void> => {
  const asked = openApi(context).call("doctor", name === undefined ? {} : { database: name });
  const { findings } = await withProgress(context, "looking", asked);
  printAs(context, format, findings, () => {
    for (const { level, about, text, hint } of findings) {
      const word = colour(context, context.stdout, colours[level], level.padEnd(7));
      const lines = [...`${about}: ${text}`.split("\n"), ...(hint?.split("\n") ?? [])];
      for (const [at, line] of lines.entries()) say(context, `${at === 0 ? word : " ".repeat(7)}  ${printable(line)}`);
    }
  });
  if (findings.some(({ level }) => level === "problem")) context.exit(1);
};

export const doctor = (program: Command, context: Context): void => {
  program
    .command("doctor")
    .description("find what is misconfigured, and how to mend it (administrators)")
    .argument("[name]", "a database, which is then looked for from inside the network too")
    .addOption(formatOption(listing))
    .action((name: string | undefined, options: { format: Format }) => act(context, name, options));
};
