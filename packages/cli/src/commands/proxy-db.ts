// sally proxy db: the tunnel alone, for programs of one's own. It stays until Ctrl-C and renews its token, so a client that
// connects again hours later still works.
import type { Command } from "commander";
import { connectionUrl, otherUrls, programLine } from "../connection.ts";
import { awaitSignal, type Context } from "../context.ts";
import { noteDemands } from "../demand.ts";
import { type Format, formatOption, printAs } from "../format.ts";
import { readPort, type WishOptions, withWish } from "../option.ts";
import { type Keeper, keepPass } from "../pass.ts";
import { openTunnelOnOwnPort } from "../port.ts";
import { requireProfile } from "../profile.ts";
import { note, printable, reportFailure, say } from "../terminal.ts";
import { openTunnel, type Tunnel, tunnelTarget } from "../tunnel.ts";

type Options = WishOptions & { readonly port?: number; readonly format: Format };

const announce = (context: Context, keeper: Keeper, tunnel: Tunnel, format: Format): void => {
  const target = tunnelTarget(keeper, tunnel);
  const { database } = keeper.answer;
  const url = connectionUrl(target);
  const { host, port, user, name } = target;
  printAs(context, format, { database, host, port, user, name, url }, () => {
    const named = name === undefined ? "" : `, database ${name}`;
    const urls = [url, ...Object.values(otherUrls(target))];
    const command = programLine(target);
    const head = printable(`${database} is at ${host}:${port} as ${user}${named}`);
    // in one piece: whoever waits for the URL then has all of it
    say(context, [head, ...urls, command].join("\n  "));
    note(context, "any password will do, or none; Ctrl-C ends it");
    noteDemands(context, target.protocol, database);
  });
};

const act = async (context: Context, database: string, options: Options): Promise<void> => {
  const { server } = requireProfile(context);
  const keeper = await keepPass(context, { database, user: options.dbUser, name: options.dbName });
  const report = (failure: unknown): void => void reportFailure(context, failure);
  const tunnel = await (options.port === undefined
    ? openTunnelOnOwnPort(context, server, keeper, report)
    : openTunnel(keeper, options.port, report));
  // before it says that it is ready: whoever reads that may stop it at once
  const stopping = awaitSignal(context.signals, ["SIGINT", "SIGTERM", "SIGHUP"]);
  try {
    announce(context, keeper, tunnel, options.format);
    await stopping.arrived;
  } finally {
    stopping.stop();
    await tunnel.close();
  }
};

export const proxyDb = (proxy: Command, context: Context): void => {
  withWish(proxy.command("db"))
    .description("open a tunnel to a database on a loopback port")
    .argument("<name>", "database")
    .option("-p, --port <port>", "the port to listen on; the same each time for a database when left out", readPort)
    .addOption(formatOption(["text", "json"]))
    .action((database: string, options: Options) => act(context, database, options));
};
