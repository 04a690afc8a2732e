// A client may demand more of a login than a token can do: SCRAM with channel binding proves that both ends know one password,
// and of a token the table keeps only a hash. libpq then refuses by itself, and tells neither server nor user what to do
// about it: so it is said here, before. TLS verified in full is what keeps anybody from standing in between.
import type { ProtocolName } from "@sallyport/core/database";
import type { Context } from "./context.ts";
import { note } from "./terminal.ts";

/** Settings in the environment with which the protocol's own programs would refuse. */
const demands: Partial<Readonly<Record<ProtocolName, (env: Readonly<NodeJS.ProcessEnv>) => readonly string[]>>> = {
  postgres: (env) => [
    ...(env["PGCHANNELBINDING"] === "require" ? ["PGCHANNELBINDING=require"] : []),
    ...(/scram|md5/.test(env["PGREQUIREAUTH"] ?? "") ? [`PGREQUIREAUTH=${env["PGREQUIREAUTH"]}`] : []),
  ],
};

/** A line on stderr when what is printed would not work in this shell. */
export const noteDemands = (context: Context, protocol: ProtocolName, database: string): void => {
  const found = demands[protocol]?.(context.env) ?? [];
  if (found.length === 0) return;
  note(context, `${found.join(" and ")} in your environment makes clients refuse: a token can't do SCRAM`);
  note(context, `hint: use the tunnel, which clears it for the program it starts: sally db connect ${database}`);
};

/** What the protocol's own program leaves unchecked without a tunnel, whatever flags it is given. */
const unchecked: Partial<Readonly<Record<ProtocolName, string>>> = {
  redis: "redis-cli checks who issued the certificate, not whose it is",
};

/** A line on stderr where a program is to connect directly that can't verify in full. */
export const noteUnchecked = (context: Context, protocol: ProtocolName, database: string): void => {
  const what = unchecked[protocol];
  if (what === undefined) return;
  note(context, what);
  note(context, `hint: the tunnel checks both: sally db connect ${database}`);
};

/** How to get the protocol's own program, where it is not there. */
export const howToInstall = {
  postgres: "install it (apt install postgresql-client, brew install libpq)",
  mysql: "install one (apt install mariadb-client, brew install mariadb)",
  mongodb: "install it (npm install --global mongosh, brew install mongosh)",
  redis: "install it (apt install redis-tools, brew install redis)",
} as const satisfies Record<ProtocolName, string>;

/** What the help of the commands says that lead to a client program. */
export const pluginHelp = `
MariaDB's clients load caching_sha2_password and mysql_clear_password from plugin files. Where one says that it
cannot be loaded, caching_sha2_password.so is missing: it comes with libmariadb3 (Debian, Ubuntu) or
mariadb-connector-c (Fedora, Alpine, Homebrew), and --plugin-dir names another folder for it.`;
