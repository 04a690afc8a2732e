// sally db connect: a shell on the database. A bound token, a tunnel on loopback, the client program on PATH; it all ends together.
import { protocols } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Command } from "commander";
import { findProgram, nameProgram, runProgram } from "../child.ts";
import { programEnvironment, programWords } from "../connection.ts";
import type { Context } from "../context.ts";
import { howToInstall, pluginHelp } from "../demand.ts";
import { type WishOptions, withWish } from "../option.ts";
import { keepPass } from "../pass.ts";
import { reportFailure } from "../terminal.ts";
import { farewellMs, openTunnel, tunnelTarget } from "../tunnel.ts";

const act = async (context: Context, database: string, options: WishOptions): Promise<void> => {
  const keeper = await keepPass(context, { database, user: options.dbUser, name: options.dbName });
  const { programs } = protocols[keeper.answer.protocol];
  const program = findProgram(programs, context.env);
  if (program === undefined)
    throw new Failure("not_found", `${programs.join(" or ")} is not on PATH`, {
      hint: `${howToInstall[keeper.answer.protocol]}, or use a client of your own: sally proxy db ${database}`,
    });
  const tunnel = await openTunnel(keeper, 0, (failure) => reportFailure(context, failure));
  try {
    const target = tunnelTarget(keeper, tunnel);
    const [, ...words] = programWords(target, await nameProgram(context, program));
    context.exit(await runProgram(context, program, words, programEnvironment(context.env, target)));
  } finally {
    await tunnel.close(farewellMs);
  }
};

export const dbConnect = (db: Command, context: Context): void => {
  withWish(db.command("connect"))
    .description("open the database's own client program through a tunnel")
    .argument("<name>", "database")
    .addHelpText("after", pluginHelp)
    .action((database: string, options: WishOptions) => act(context, database, options));
};
