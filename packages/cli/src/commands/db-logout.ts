// sally db logout: gives tokens back and deletes them here. One that the server does not know any more is gone already.
import { toFailure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type DirectLogin, findLogins, openLogins } from "../direct.ts";
import { openApi, requireProfile } from "../profile.ts";
import { note, say, withProgress } from "../terminal.ts";

const revoke = async (context: Context, login: DirectLogin): Promise<void> => {
  if (login.expiresAt <= context.clock.now()) return;
  try {
    await openApi(context).call("revoke", { id: login.id });
  } catch (thrown) {
    if (toFailure(thrown).code !== "not_found") throw thrown;
  }
};

const act = async (context: Context, database: string | undefined): Promise<void> => {
  const drawer = openLogins(context);
  const logins = findLogins(context, requireProfile(context).server, database);
  for (const login of logins) {
    await withProgress(context, `logging out of ${login.database}`, revoke(context, login));
    // only once it is revoked: a token that is still good must not be forgotten
    drawer.remove(login.id);
  }
  const names = [...new Set(logins.map((login) => login.database))];
  if (names.length > 0) say(context, `logged out of ${names.join(", ")}`);
  else note(context, `not logged in to ${database ?? "any database"}`);
};

export const dbLogout = (db: Command, context: Context): void => {
  db.command("logout")
    .description("give back the tokens of db login")
    .argument("[name]", "database; all when left out")
    .action((database: string | undefined) => act(context, database));
};
