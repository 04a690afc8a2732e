// What a client program is given to connect with: a URL, environment variables, a command. Per protocol, one table. Every
// part that somebody else chose is escaped; whatever leaves this machine is verified in full (verify-full).
import { type ProtocolName, protocols } from "@sallyport/core/database";
import type { Secret } from "@sallyport/core/secret";
import { commandLine, quote } from "./shell.ts";

/** Where a client program connects. `tls` absent: a tunnel's loopback port. */
export interface Target {
  readonly protocol: ProtocolName;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly name: string | undefined;
  readonly password?: Secret;
  /** The file of the CA to verify against. */
  readonly tls?: { readonly caFile: string };
}

interface Wording {
  /** The scheme of a connection URL, where TLS has one of its own. */
  scheme?(target: Target): string;
  /** Who a connection URL is for, with the `@` behind; empty where it names nobody. */
  account(target: Target): string;
  /** Query members of a connection URL. */
  query(target: Target): Readonly<Record<string, string>>;
  /** What the protocol's own program is called with; `program` is its name, where several take different flags. */
  words(target: Target, program: string): readonly string[];
  /** What that program reads from its environment: a secret among its arguments shows in every list of processes. */
  hidden?(target: Target): Readonly<Record<string, string>>;
  /** What a program finds in its environment, URL aside. */
  variables(target: Target): Readonly<Record<string, string>>;
  /** The user's own settings that would point the program elsewhere, or send a password of theirs. */
  readonly cleared: readonly string[];
  /** The same in other notations, for graphical clients. */
  others(target: Target): Readonly<Record<string, string>>;
}

const percent = (text: string): string => encodeURIComponent(text.toWellFormed());
const hostOf = (host: string): string => (host.includes(":") ? `[${host}]` : percent(host));

const account = ({ user, password }: Target): string =>
  `${percent(user)}${password ? `:${percent(password.reveal())}` : ""}@`;

/** A tunnel takes any password and looks at none; naming one keeps clients from prompting or sending a real one. */
const anyPassword = "sallyport";

/** The two families name the same thing differently, and neither knows the other's flags. */
const mysqlTls = ({ tls }: Target, program: string): readonly string[] => {
  if (program === "mariadb") return tls ? [`--ssl-ca=${tls.caFile}`, "--ssl-verify-server-cert"] : ["--skip-ssl"];
  return tls ? [`--ssl-ca=${tls.caFile}`, "--ssl-mode=VERIFY_IDENTITY"] : ["--ssl-mode=DISABLED"];
};

const wordings = {
  postgres: {
    account,
    query: ({ tls }): Record<string, string> =>
      tls ? { sslmode: "verify-full", sslrootcert: tls.caFile } : { sslmode: "disable" },
    words: (target): readonly string[] => [connectionUrl(target)],
    variables: (target): Record<string, string> => ({
      PGHOST: target.host,
      PGPORT: String(target.port),
      PGUSER: target.user,
      PGDATABASE: target.name ?? target.user,
      PGPASSWORD: target.password?.reveal() ?? anyPassword,
      ...(target.tls
        ? // a token is sent as a password inside verified TLS, which a demand for SCRAM would refuse
          { PGSSLMODE: "verify-full", PGSSLROOTCERT: target.tls.caFile, PGCHANNELBINDING: "disable" }
        : { PGSSLMODE: "disable", PGGSSENCMODE: "disable" }),
    }),
    cleared: [
      "PGHOSTADDR",
      "PGSERVICE",
      "PGSERVICEFILE",
      "PGPASSFILE",
      "PGREQUIREAUTH",
      "PGCHANNELBINDING",
      "PGREQUIRESSL",
      "PGSSLNEGOTIATION",
      "PGSSLCERT",
      "PGSSLKEY",
      "PGSSLROOTCERT",
      "PGSSLMODE",
      "PGTARGETSESSIONATTRS",
    ],
    others: (target): Record<string, string> => ({
      jdbc: `jdbc:postgresql://${hostOf(target.host)}:${target.port}/${percent(target.name ?? target.user)}?${new URLSearchParams({ user: target.user, ...wordings.postgres.query(target) })}`,
    }),
  },
  mysql: {
    account,
    // MySQL's own words, and mysql2's, which knows no file: its CA comes by NODE_EXTRA_CA_CERTS
    query: ({ tls }): Record<string, string> =>
      tls
        ? {
            "ssl-mode": "VERIFY_IDENTITY",
            "ssl-ca": tls.caFile,
            ssl: '{"rejectUnauthorized":true,"verifyIdentity":true}',
          }
        : { "ssl-mode": "DISABLED" },
    words: (target, program): readonly string[] => [
      ...[`--host=${target.host}`, `--port=${target.port}`, "--protocol=TCP", `--user=${target.user}`],
      ...(target.password ? [`--password=${target.password.reveal()}`] : []),
      ...mysqlTls(target, program),
      ...(target.name === undefined ? [] : [`--database=${target.name}`]),
    ],
    // no variable makes these clients verify, so those that lead them somewhere are set for a tunnel alone
    variables: (target): Record<string, string> =>
      target.tls
        ? { NODE_EXTRA_CA_CERTS: target.tls.caFile }
        : {
            MYSQL_HOST: target.host,
            MYSQL_TCP_PORT: String(target.port),
            MYSQL_PWD: target.password?.reveal() ?? anyPassword,
          },
    cleared: ["MYSQL_HOST", "MYSQL_UNIX_PORT", "MYSQL_GROUP_SUFFIX", "MYSQL_HOME", "MYSQL_TEST_LOGIN_FILE"],
    others: (target): Record<string, string> => ({
      jdbc: `jdbc:mariadb://${hostOf(target.host)}:${target.port}/${percent(target.name ?? "")}?${new URLSearchParams({
        ...{ user: target.user, sslMode: target.tls ? "verify-full" : "disable" },
        ...(target.tls ? { serverSslCert: target.tls.caFile } : {}),
      })}`,
    }),
  },
  mongodb: {
    // of whom a URL names a driver proves a password, by a mechanism that a tunnel would have to know
    account: (target): string => (target.tls ? account(target) : ""),
    // no other address is ever asked for; DocumentDB has no writes that a driver may try again
    query: ({ tls }): Record<string, string> => ({
      ...(tls && { authMechanism: "PLAIN", authSource: "$external", tls: "true", tlsCAFile: tls.caFile }),
      ...{ directConnection: "true", retryWrites: "false" },
    }),
    words: (target): readonly string[] => [connectionUrl(target)],
    // no variable is every program's; many read this one
    variables: (target): Record<string, string> => ({ MONGODB_URI: connectionUrl(target) }),
    cleared: [],
    others: (): Record<string, string> => ({}),
  },
  redis: {
    scheme: ({ tls }) => (tls ? "rediss" : "redis"),
    // through a tunnel one is known already; a client that shows nothing is asked for nothing
    account: (target): string => (target.tls ? account(target) : ""),
    // redis-py's words: it looks at no host name by itself. Of the others each verifies in full, or reads no query
    query: ({ tls }): Record<string, string> =>
      tls ? { ssl_cert_reqs: "required", ssl_check_hostname: "true", ssl_ca_certs: tls.caFile } : {},
    words: ({ host, port, user, name, tls }): readonly string[] => [
      ...["-h", host, "-p", String(port)],
      ...(tls ? ["--tls", "--cacert", tls.caFile, "--user", user] : []),
      ...(name === undefined ? [] : ["-n", name]),
    ],
    hidden: ({ password }): Record<string, string> => (password ? { REDISCLI_AUTH: password.reveal() } : {}),
    variables: (target): Record<string, string> => ({
      ...wordings.redis.hidden(target),
      ...(target.tls && { NODE_EXTRA_CA_CERTS: target.tls.caFile }),
      REDIS_URL: connectionUrl(target),
    }),
    cleared: ["REDISCLI_AUTH"],
    others: (): Record<string, string> => ({}),
  },
} as const satisfies Record<ProtocolName, Wording>;

/** A connection URL, the password in it where there is one. */
export const connectionUrl = (target: Target): string => {
  const wording: Wording = wordings[target.protocol];
  const query = Object.entries(wording.query(target))
    .map(([key, value]) => `${key}=${percent(value)}`)
    .join("&");
  const path = target.name === undefined ? "" : percent(target.name);
  const scheme = wording.scheme?.(target) ?? protocols[target.protocol].scheme;
  const place = `${wording.account(target)}${hostOf(target.host)}:${target.port}/${path}`;
  return `${scheme}://${place}${query === "" ? "" : `?${query}`}`;
};

/** The protocol's own program and its arguments, the password among them where there is one. */
export const programWords = (
  target: Target,
  program: string = protocols[target.protocol].programs[0],
): readonly [program: string, ...words: string[]] => [program, ...wordings[target.protocol].words(target, program)];

/** The same as a line for a shell. */
export const programLine = (target: Target): string => {
  const wording: Wording = wordings[target.protocol];
  const settings = Object.entries(wording.hidden?.(target) ?? {}).map(([name, value]) => `${name}=${quote(value)}`);
  return [...settings, commandLine(programWords(target))].join(" ");
};

export const otherUrls = (target: Target): Readonly<Record<string, string>> => wordings[target.protocol].others(target);

/** What to add to a program's environment. */
export const connectionVariables = (target: Target): Readonly<Record<string, string>> => ({
  ...wordings[target.protocol].variables(target),
  DATABASE_URL: connectionUrl(target),
});

/** The user's environment made to mean this connection and no other. */
export const programEnvironment = (env: Readonly<NodeJS.ProcessEnv>, target: Target): NodeJS.ProcessEnv => {
  const cleared: ReadonlySet<string> = new Set(wordings[target.protocol].cleared);
  const kept = Object.entries(env).filter(([name]) => !cleared.has(name));
  return { ...Object.fromEntries(kept), ...connectionVariables(target) };
};
