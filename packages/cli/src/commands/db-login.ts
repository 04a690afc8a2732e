// sally db login: a connection without a tunnel. The token is the password; it is kept for db env and db config until it expires.
import type { Command } from "commander";
import { connectionUrl, programLine } from "../connection.ts";
import type { Context } from "../context.ts";
import { noteDemands, noteUnchecked, pluginHelp } from "../demand.ts";
import { keepLogin, targetOf } from "../direct.ts";
import { type Format, formatOption, printAs } from "../format.ts";
import { type WishOptions, withWish } from "../option.ts";
import { askConnect } from "../pass.ts";
import { requireProfile } from "../profile.ts";
import { note, say } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

type Options = WishOptions & { readonly format: Format };

const act = async (context: Context, database: string, options: Options): Promise<void> => {
  const { server } = requireProfile(context);
  const answer = await askConnect(context, { database, user: options.dbUser, name: options.dbName });
  const login = keepLogin(context, server, database, answer);
  const target = targetOf(login);
  const url = connectionUrl(target);
  noteDemands(context, login.protocol, login.database);
  noteUnchecked(context, login.protocol, login.database);
  if (options.format === "cmd") {
    say(context, programLine(target));
    return;
  }
  const { host, port, user, name, id, expiresAt, logins, caFile } = login;
  const data = { database: login.database, host, port, user, name, password: login.token.reveal(), caFile, url };
  printAs(context, options.format, { ...data, id, expiresAt, logins }, () => {
    say(context, url);
    const times = logins === undefined ? "" : `, for ${logins} logins`;
    note(context, `good for new logins until ${describeExpiry(expiresAt, context.clock.now())}${times}`);
  });
};

export const dbLogin = (db: Command, context: Context): void => {
  withWish(db.command("login"))
    .description("get a token for a direct connection and print the connection string")
    .argument("<name>", "database")
    .addHelpText("after", pluginHelp)
    .addOption(formatOption(["text", "json", "yaml", "cmd"]))
    .action((database: string, options: Options) => act(context, database, options));
};
