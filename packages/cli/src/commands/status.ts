// sally status: who am I, as the server sees it.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { openApi, requireProfile } from "../profile.ts";
import { printable, say, withProgress } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

const act = async (context: Context, format: Format): Promise<void> => {
  const { server } = requireProfile(context);
  const me = await withProgress(context, `asking ${server}`, openApi(context).call("status", {}));
  printAs(context, format, { server, ...me }, () => {
    const traits = Object.entries(me.traits).map(([name, values]) => `${name}: ${values.join(", ")}`);
    const facts = {
      Server: server,
      User: me.user,
      Roles: me.roles.join(", ") || "none",
      ...(traits.length > 0 ? { Traits: traits.join("; ") } : {}),
      Expires: describeExpiry(me.expiresAt, context.clock.now()),
    };
    for (const [name, value] of Object.entries(facts)) say(context, `${`${name}:`.padEnd(9)}${printable(value)}`);
  });
};

export const status = (program: Command, context: Context): void => {
  program
    .command("status")
    .description("who you are, your roles, and until when")
    .addOption(formatOption(listing))
    .action(({ format }: { format: Format }) => act(context, format));
};
