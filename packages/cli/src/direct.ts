// Logins to databases without a tunnel: bearer tokens kept until they expire or are given back, and what a stock client is given
// to connect with. Several may be alive for one database; the newest is the one that counts.
import { getCACertificates } from "node:tls";
import type { ConnectAnswer } from "@sallyport/core/api";
import { protocolNames } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import * as z from "zod";
import type { Target } from "./connection.ts";
import type { Context } from "./context.ts";
import { type Drawer, keepCa, openDrawer } from "./folder.ts";

const DirectLogin = z.object({
  id: z.string(),
  server: z.string(),
  database: z.string(),
  /** The name it was asked for by, which may be a short one. */
  asked: z.string().optional(),
  protocol: z.enum(protocolNames),
  host: z.string(),
  port: z.number(),
  user: z.string(),
  name: z.string().optional(),
  token: z.string().transform(secret),
  issuedAt: z.number(),
  expiresAt: z.number(),
  logins: z.number().optional(),
  caFile: z.string(),
});
export type DirectLogin = z.infer<typeof DirectLogin>;

export const openLogins = (context: Pick<Context, "configDir">): Drawer<DirectLogin> =>
  openDrawer<DirectLogin>(context.configDir, "logins", DirectLogin, (login) => ({
    ...login,
    token: login.token.reveal(),
  }));

/** The roots that the tunnel goes by where the certificate is a public one: as a file, which every client and version takes. */
const publicRoots = (): string => getCACertificates("default").join("\n");

/** Keeps what the API issued. @throws Failure `unsupported` where the plain port is not offered */
export const keepLogin = (context: Context, server: string, asked: string, answer: ConnectAnswer): DirectLogin => {
  const { direct } = answer;
  if (!direct)
    throw new Failure("unsupported", `${answer.database} can't be reached without a tunnel`, {
      hint: `sally proxy db ${answer.database}`,
    });
  const token: Secret = secret(answer.token);
  const login: DirectLogin = {
    id: answer.id,
    server,
    database: answer.database,
    asked,
    protocol: answer.protocol,
    host: direct.host,
    port: direct.port,
    user: answer.user,
    ...(answer.name === undefined ? {} : { name: answer.name }),
    token,
    issuedAt: context.clock.now(),
    expiresAt: answer.expiresAt,
    ...(answer.logins === undefined ? {} : { logins: answer.logins }),
    caFile: keepCa(context.configDir, direct.ca ?? publicRoots()),
  };
  openLogins(context).put(login.id, login);
  return login;
};

/** The logins of this server, of one database (by its name, or as it was asked for) or of all, newest first. */
export const findLogins = (context: Context, server: string, database?: string): readonly DirectLogin[] => {
  const here = openLogins(context)
    .list()
    .filter((login) => login.server === server)
    .toSorted((a, b) => b.issuedAt - a.issuedAt);
  if (database === undefined) return here;
  const named = here.filter((login) => login.database === database);
  return named.length > 0 ? named : here.filter((login) => login.asked === database);
};

/** The newest login that still works. @throws Failure `bad_token` when there is none, `invalid` when a name is needed */
export const requireLogin = (context: Context, server: string, database?: string): DirectLogin => {
  const alive = findLogins(context, server, database).filter((login) => login.expiresAt > context.clock.now());
  const names = [...new Set(alive.map((login) => login.database))];
  if (names.length > 1)
    throw new Failure("invalid", `you are logged in to several databases: ${names.join(", ")}`, {
      hint: "name the one you mean",
    });
  const [login] = alive;
  if (!login)
    throw new Failure("bad_token", `you are not logged in to ${database ?? "a database"}, or no longer`, {
      hint: `sally db login ${database ?? "NAME"}`,
    });
  return login;
};

export const targetOf = (login: DirectLogin): Target & { readonly password: Secret } => ({
  protocol: login.protocol,
  host: login.host,
  port: login.port,
  user: login.user,
  name: login.name,
  password: login.token,
  tls: { caFile: login.caFile },
});
