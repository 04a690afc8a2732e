// sally login: a user's password for a session token, kept in a profile. With an invite the password is set first.
import { openClient } from "@sallyport/client/client";
import { checkServer } from "@sallyport/client/request";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { readDuration } from "../option.ts";
import { openProfiles } from "../profile.ts";
import { askPassword, askText } from "../prompt.ts";
import { commandLine } from "../shell.ts";
import { say, withProgress } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

interface Options {
  readonly server?: string;
  readonly user?: string;
  readonly ttl?: number;
  readonly invite?: string;
  readonly passwordStdin?: true;
}

const act = async (context: Context, options: Options): Promise<void> => {
  const profiles = openProfiles(context);
  const given = options.server ?? profiles.current()?.server;
  if (given === undefined)
    throw new Failure("invalid", "which server?", { hint: "sally login --server https://… --user NAME" });
  const server = checkServer(given);
  const { invite } = options;
  // an invite knows whose it is
  const wanted =
    options.user ??
    (invite === undefined
      ? (profiles.get(server)?.user ?? (await askText(context, "user", "--user NAME")))
      : undefined);
  const password = await askPassword(context, {
    what: invite === undefined ? `password of ${wanted}` : "new password, at least 12 characters",
    fresh: invite !== undefined,
    stdin: options.passwordStdin === true,
  });
  const api = openClient({ api: server, fetch: context.fetch });
  const enter = async () => {
    const { user } =
      invite === undefined
        ? { user: wanted ?? "" }
        : await api.call("acceptInvite", { invite, password: password.reveal() });
    if (wanted !== undefined && wanted !== user)
      throw new Failure("invalid", `the invite was for ${user}, whose password is set now`, {
        hint: commandLine(["sally", "login", "--server", server, "--user", user]),
      });
    const ttl = options.ttl === undefined ? {} : { ttl: options.ttl };
    return api.call("login", { user, password: password.reveal(), ...ttl });
  };
  const answer = await withProgress(context, `logging in to ${server}`, enter());
  profiles.save({ server, user: answer.user, token: secret(answer.token), expiresAt: answer.expiresAt });
  say(context, `logged in to ${server} as ${answer.user} (roles: ${answer.roles.join(", ") || "none"})`);
  say(context, `until ${describeExpiry(answer.expiresAt, context.clock.now())}`);
};

export const login = (program: Command, context: Context): void => {
  program
    .command("login")
    .description("log in to a server")
    .option("--server <url>", "the server's address; the last one when left out")
    .option("--user <user>", "your user name; the last one there when left out")
    .option("--ttl <duration>", "how long, such as 8h; your roles may allow less", readDuration)
    .option("--invite <token>", "set your first password with this invite, then log in")
    .option("--password-stdin", "read the password from standard input")
    .action((options: Options) => act(context, options));
};
