// What two sides of MySQL's protocol may agree on. Whatever changes how packets are laid out must be the same on both sides of
// a relay that passes the original bytes: what the client took is asked of the server, and a login fails where it is missing.
// https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html
// https://mariadb.com/kb/en/connection/#capabilities
import { Failure } from "@sallyport/core/failure";

/** Bits of the first 32; MariaDB has 32 more, of its own (`extended`). */
export const capability = {
  longPassword: 0x1, //       on MariaDB's wire its absence says: extended bits follow
  foundRows: 0x2,
  longFlag: 0x4,
  connectWithDb: 0x8,
  noSchema: 0x10,
  compress: 0x20,
  odbc: 0x40,
  localFiles: 0x80,
  ignoreSpace: 0x100,
  protocol41: 0x200,
  interactive: 0x400,
  ssl: 0x800,
  ignoreSigpipe: 0x1000,
  transactions: 0x2000,
  reserved: 0x4000,
  secureConnection: 0x8000,
  multiStatements: 0x1_0000,
  multiResults: 0x2_0000,
  psMultiResults: 0x4_0000,
  pluginAuth: 0x8_0000,
  connectAttrs: 0x10_0000,
  lenencAuth: 0x20_0000,
  expiredPasswords: 0x40_0000,
  sessionTrack: 0x80_0000,
  deprecateEof: 0x100_0000,
  optionalMetadata: 0x200_0000,
  zstd: 0x400_0000,
  queryAttributes: 0x800_0000,
} as const;
const c = capability;

export const extended = {
  progress: 0x1,
  bulk: 0x4,
  extendedMetadata: 0x8,
  cacheMetadata: 0x10,
  unitResults: 0x20,
} as const;

export interface Capabilities {
  readonly flags: number;
  readonly extended: number;
}

/** Both or nothing: who knows none of these speaks a protocol of before 2004. */
const needed = c.protocol41 | c.secureConnection;

/** Change how packets are laid out, or which may come. */
const framing = [
  ["DEPRECATE_EOF", c.deprecateEof],
  ["SESSION_TRACK", c.sessionTrack],
  ["OPTIONAL_RESULTSET_METADATA", c.optionalMetadata],
  ["QUERY_ATTRIBUTES", c.queryAttributes],
  ["MULTI_STATEMENTS", c.multiStatements],
  ["MULTI_RESULTS", c.multiResults],
  ["PS_MULTI_RESULTS", c.psMultiResults],
] as const;

/** Only change what values mean or how a server behaves: asked for where they are offered. */
const manners =
  c.foundRows |
  c.longFlag |
  c.noSchema |
  c.odbc |
  c.ignoreSpace |
  c.interactive |
  c.ignoreSigpipe |
  c.transactions |
  c.expiredPasswords;
/** Of the login, which each leg has for itself. */
const login = c.pluginAuth | c.connectAttrs | c.lenencAuth;

/** All that a relay here can follow. Not among them: compression (it hides the packets), and MariaDB's COM_MULTI. */
const followed =
  c.longPassword |
  needed |
  c.reserved |
  c.connectWithDb |
  c.localFiles |
  manners |
  login |
  framing.reduce((all, [, bit]) => all | bit, 0);
const followedExtended =
  extended.progress | extended.bulk | extended.extendedMetadata | extended.cacheMetadata | extended.unitResults;

/**
 * The plain port's greeting is sent before the target is known, so it offers what MySQL 5.7, 8.0 and 8.4 and MariaDB from 10.6 all
 * have. Not offered: QUERY_ATTRIBUTES and OPTIONAL_RESULTSET_METADATA (only MySQL 8), MariaDB's own bits (only MariaDB), and
 * sessions with a second or third factor. LOCAL_FILES is offered, for clients give up LOAD DATA LOCAL where it is not; it is asked
 * of the server only where the role allows it, and a request for a file is ruled on again when it comes.
 */
export const offered: Capabilities = {
  flags: (followed | c.ssl) & ~(c.queryAttributes | c.optionalMetadata),
  extended: 0,
};

/** Of the target's own offer, what a client that comes through the gate is shown. */
export const shown = (of: Capabilities, options: { readonly localFiles: boolean }): Capabilities => ({
  flags: (of.flags & followed & ~(options.localFiles ? 0 : c.localFiles)) >>> 0,
  extended: of.flags & c.longPassword ? 0 : of.extended & followedExtended,
});

/** What is in force between a client and what was shown to it. @throws Failure `unsupported` */
export const agreed = (show: Capabilities, taken: Capabilities): Capabilities => {
  if ((taken.flags & needed) !== needed)
    throw new Failure("unsupported", "the client speaks a protocol of before MySQL 4.1", {
      hint: "use a newer client",
    });
  // what was not offered is not in force, whatever a client claims
  const flags = (taken.flags & show.flags) >>> 0;
  if (flags & c.optionalMetadata && !(flags & c.deprecateEof))
    throw new Failure("unsupported", "OPTIONAL_RESULTSET_METADATA is offered together with DEPRECATE_EOF only");
  return { flags, extended: taken.extended & show.extended };
};

/** What is asked of the server so that both legs are laid out alike. @throws Failure `unsupported` where it can't be had */
export const asked = (
  client: Capabilities,
  server: Capabilities,
  options: { readonly localFiles: boolean; readonly schema: boolean },
): Capabilities => {
  const missing = framing.filter(([, bit]) => client.flags & bit & ~server.flags).map(([name]) => name);
  if (missing.length > 0 || client.extended & ~server.extended)
    throw new Failure(
      "unsupported",
      `the client took ${missing.join(", ") || "extensions"} and this database has none`,
      {
        hint: "connect through the tunnel of sally, which shows the database's own greeting",
      },
    );
  if ((server.flags & needed) !== needed || !(server.flags & c.pluginAuth))
    throw new Failure("upstream_refused", "the database speaks a protocol that is too old");
  const same = framing.reduce((all, [, bit]) => all | (client.flags & bit), 0);
  const polite = client.flags & server.flags & manners;
  const ours = needed | c.ssl | ((c.pluginAuth | c.connectAttrs | c.lenencAuth | c.transactions) & server.flags);
  return {
    flags:
      (same |
        polite |
        ours |
        // only MariaDB leaves it out, and reads from its absence that extended bits follow
        (server.flags & c.longPassword) |
        (options.localFiles ? client.flags & server.flags & c.localFiles : 0) |
        (options.schema ? c.connectWithDb : 0)) >>>
      0,
    extended: client.extended,
  };
};

/** For administrative statements, which have no client: results in the oldest form that all servers have. */
export const plain: Capabilities = { flags: needed | c.pluginAuth, extended: 0 };
