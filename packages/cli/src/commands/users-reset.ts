// sally users reset: a new invite for a user who lost their password; the old password stops working.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing } from "../format.ts";
import { printInvite } from "../invite.ts";
import { openApi } from "../profile.ts";
import { withProgress } from "../terminal.ts";

const act = async (context: Context, user: string, format: Format): Promise<void> =>
  printInvite(
    context,
    format,
    await withProgress(context, `resetting ${user}`, openApi(context).call("reset", { user })),
  );

export const usersReset = (users: Command, context: Context): void => {
  users
    .command("reset")
    .description("make a user set a new password, by a new invite")
    .argument("<name>", "user")
    .addOption(formatOption(listing))
    .action((user: string, { format }: { format: Format }) => act(context, user, format));
};
