// sally run: a program with the connection in its environment, through a tunnel that lives as long as the program.
import type { Command } from "commander";
import { runProgram } from "../child.ts";
import { programEnvironment } from "../connection.ts";
import type { Context } from "../context.ts";
import { type WishOptions, withWish } from "../option.ts";
import { keepPass } from "../pass.ts";
import { reportFailure } from "../terminal.ts";
import { farewellMs, openTunnel, tunnelTarget } from "../tunnel.ts";

const act = async (context: Context, database: string, words: readonly string[], options: WishOptions) => {
  const keeper = await keepPass(context, { database, user: options.dbUser, name: options.dbName });
  const tunnel = await openTunnel(keeper, 0, (failure) => reportFailure(context, failure));
  try {
    const env = programEnvironment(context.env, tunnelTarget(keeper, tunnel));
    const [program = "", ...args] = words;
    context.exit(await runProgram(context, program, args, env));
  } finally {
    await tunnel.close(farewellMs);
  }
};

export const run = (program: Command, context: Context): void => {
  withWish(program.command("run"))
    .description("run a program with the connection in its environment (PGHOST, …, DATABASE_URL)")
    .usage("[options] <name> -- <command…>")
    .argument("<name>", "database")
    .argument("<command...>", "the program and its arguments, after --")
    .action((database: string, words: string[], options: WishOptions) => act(context, database, words, options));
};
