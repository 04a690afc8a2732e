// sally db explain: why allowed, why not, what is nearest. Its exit status is that of the connection it speaks of.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { exitStatus } from "../exit.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { type WishOptions, withWish } from "../option.ts";
import { openApi } from "../profile.ts";
import { colour, printable, say, withProgress } from "../terminal.ts";

type Options = WishOptions & { readonly as?: string; readonly format: Format };

const act = async (context: Context, database: string, { dbUser, dbName, as, format }: Options): Promise<void> => {
  const input = {
    database,
    ...(dbUser === undefined ? {} : { user: dbUser }),
    ...(dbName === undefined ? {} : { name: dbName }),
    ...(as === undefined ? {} : { as }),
  };
  const answer = await withProgress(context, "asking", openApi(context).call("explain", input));
  printAs(context, format, answer, () => {
    const verdict = answer.allowed
      ? colour(context, context.stdout, "green", "allowed")
      : colour(context, context.stdout, "red", "denied");
    // empty where none was given and the roles name none
    const as = answer.user === "" ? "" : ` as ${JSON.stringify(answer.user)}`;
    const named = answer.name ? `, database name ${JSON.stringify(answer.name)}` : "";
    say(context, `${verdict}: ${printable(`${answer.database}${as}${named}`)}`);
    if (answer.roles.length > 0) say(context, `  by ${printable(answer.roles.join(", "))}`);
    for (const { text } of answer.reasons) say(context, `  ${printable(text)}`);
    if (answer.nearest !== undefined && answer.reasons.length > 1)
      say(context, `nearest: ${printable(answer.nearest)}`);
  });
  if (!answer.allowed) context.exit(exitStatus.denied);
};

export const dbExplain = (db: Command, context: Context): void => {
  withWish(db.command("explain"))
    .description("say why a connection is allowed or denied")
    .argument("<name>", "database")
    .option("--as <user>", "for another user (administrators)")
    .addOption(formatOption(listing))
    .action((database: string, options: Options) => act(context, database, options));
};
