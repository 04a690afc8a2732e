// sally db env: a login as variables for a shell: eval "$(sally db env orders)".
import type { Command } from "commander";
import { connectionVariables } from "../connection.ts";
import type { Context } from "../context.ts";
import { requireLogin, targetOf } from "../direct.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { requireProfile } from "../profile.ts";
import { exportLines } from "../shell.ts";
import { say } from "../terminal.ts";

const act = (context: Context, database: string | undefined, format: Format): void => {
  const login = requireLogin(context, requireProfile(context).server, database);
  const variables = connectionVariables(targetOf(login));
  printAs(context, format, variables, () => {
    for (const line of exportLines(variables)) say(context, line);
  });
};

export const dbEnv = (db: Command, context: Context): void => {
  db.command("env")
    .description("print a login as shell exports")
    .argument("[name]", "database; may be left out when you are logged in to one")
    .addOption(formatOption(listing))
    .action((database: string | undefined, { format }: { format: Format }) => act(context, database, format));
};
