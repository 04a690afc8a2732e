// sally db config: a login's parts, for a graphical client's form. The token is shown only where it is asked for (cmd).
import type { Command } from "commander";
import { programLine } from "../connection.ts";
import type { Context } from "../context.ts";
import { noteDemands, noteUnchecked } from "../demand.ts";
import { requireLogin, targetOf } from "../direct.ts";
import { type Format, formatOption, printAs } from "../format.ts";
import { requireProfile } from "../profile.ts";
import { printable, say } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

const act = (context: Context, database: string | undefined, format: Format): void => {
  const login = requireLogin(context, requireProfile(context).server, database);
  if (format === "cmd") {
    noteDemands(context, login.protocol, login.database);
    noteUnchecked(context, login.protocol, login.database);
    say(context, programLine(targetOf(login)));
    return;
  }
  const { host, port, user, name, caFile, expiresAt } = login;
  const data = {
    name: login.database,
    protocol: login.protocol,
    host,
    port,
    user,
    database: name,
    ca: caFile,
    expiresAt,
  };
  printAs(context, format, data, () => {
    const facts = { ...data, expiresAt: undefined, expires: describeExpiry(expiresAt, context.clock.now()) };
    for (const [key, value] of Object.entries(facts))
      if (value !== undefined) say(context, `${`${key}:`.padEnd(10)}${printable(String(value))}`);
  });
};

export const dbConfig = (db: Command, context: Context): void => {
  db.command("config")
    .description("print where a login connects to, without its token")
    .argument("[name]", "database; may be left out when you are logged in to one")
    .addOption(formatOption(["text", "json", "yaml", "cmd"]))
    .action((database: string | undefined, { format }: { format: Format }) => act(context, database, format));
};
