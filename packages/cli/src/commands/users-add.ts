// sally users add: a new user and the single-use invite by which they set their password.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing } from "../format.ts";
import { printInvite } from "../invite.ts";
import { readList } from "../option.ts";
import { openApi } from "../profile.ts";
import { withProgress } from "../terminal.ts";

interface Options {
  readonly roles: readonly string[];
  readonly dbUsers?: readonly string[];
  readonly dbNames?: readonly string[];
  readonly format: Format;
}

const act = async (context: Context, user: string, { roles, dbUsers, dbNames, format }: Options): Promise<void> => {
  const traits = {
    ...(dbUsers === undefined ? {} : { db_users: [...dbUsers] }),
    ...(dbNames === undefined ? {} : { db_names: [...dbNames] }),
  };
  const input = { user, roles: [...roles], ...(Object.keys(traits).length > 0 ? { traits } : {}) };
  printInvite(context, format, await withProgress(context, `inviting ${user}`, openApi(context).call("invite", input)));
};

export const usersAdd = (users: Command, context: Context): void => {
  users
    .command("add")
    .description("add a user and print their invite")
    .argument("<name>", "user")
    .requiredOption("--roles <roles>", "roles, separated by commas", readList)
    .option("--db-users <users>", "the trait db_users", readList)
    .option("--db-names <names>", "the trait db_names", readList)
    .addOption(formatOption(listing))
    .action((user: string, options: Options) => act(context, user, options));
};
