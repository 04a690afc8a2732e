// sally logout: ends the logins at their servers and forgets them here. What can't be told to a server is forgotten all the same.
import { openClient } from "@sallyport/client/client";
import { toFailure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { findLogins, openLogins } from "../direct.ts";
import { forgetCas } from "../folder.ts";
import { openProfiles, type Profile } from "../profile.ts";
import { note, printable, say, withProgress } from "../terminal.ts";

const timeoutMs = 10_000;

const leave = async (context: Context, { server, token }: Profile): Promise<void> => {
  const api = openClient({ api: server, token, fetch: context.fetch, timeoutMs });
  for (const login of findLogins(context, server))
    if (login.expiresAt > context.clock.now()) await api.call("revoke", { id: login.id });
  await api.call("logout", {});
};

const act = async (context: Context): Promise<void> => {
  const profiles = openProfiles(context);
  const all = profiles.list();
  for (const profile of all) {
    try {
      if (profile.expiresAt > context.clock.now())
        await withProgress(context, `logging out of ${profile.server}`, leave(context, profile));
    } catch (thrown) {
      const { code, message } = toFailure(thrown);
      // a login that the server does not know any more is as ended as can be
      if (code !== "not_logged_in")
        note(context, `warning: ${profile.server} was not told: ${printable(message)}; its tokens end by themselves`);
    }
    profiles.forget(profile.server);
  }
  const logins = openLogins(context);
  for (const login of logins.list()) logins.remove(login.id);
  forgetCas(context.configDir);
  say(context, all.length > 0 ? `logged out of ${all.map(({ server }) => server).join(", ")}` : "no login to forget");
};

export const logout = (program: Command, context: Context): void => {
  program
    .command("logout")
    .description("end every login and forget all tokens")
    .action(() => act(context));
};
