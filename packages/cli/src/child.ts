// Other people's programs: found on PATH, run with our streams, their exit status passed on. While one runs, Ctrl-C is its
// business (the terminal tells it as well as us); other signals are forwarded.
import { accessSync, constants, statSync } from "node:fs";
import { constants as system } from "node:os";
import { basename, delimiter, join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import type { Context } from "./context.ts";

const isProgram = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
};

/** The first of these programs on PATH, as a full path. */
export const findProgram = (names: readonly string[], env: Readonly<NodeJS.ProcessEnv>): string | undefined => {
  // an empty part of PATH means the working folder, where anybody may have put a program of that name
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram);
};

/** What the program is, by the flags it takes: many systems have MariaDB's client under the name of mysql. */
export const nameProgram = async (context: Context, program: string): Promise<string> => {
  const name = basename(program);
  if (name !== "mysql") return name;
  const child = context.spawn(program, ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
  const said = await new Promise<string>((resolve) => {
    let all = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      all += chunk.toString();
    });
    // that it can't be started is told when it is run
    child.once("error", () => resolve(""));
    child.once("close", () => resolve(all));
  });
  return said.includes("MariaDB") ? "mariadb" : name;
};

const forwarded = ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT"] as const;

/** Runs it to its end; its exit status, or 128 and the signal's number. @throws Failure `not_found` when it can't be started */
export const runProgram = async (
  context: Context,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<number> => {
  const child = context.spawn(program, args, { env, stdio: "inherit" });
  const forward = (signal: NodeJS.Signals): void => {
    // a terminal has sent its Ctrl-C and Ctrl-\ to the child already
    const fromTerminal = context.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT");
    if (!fromTerminal) child.kill(signal);
  };
  for (const signal of forwarded) context.signals.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (cause: NodeJS.ErrnoException) =>
        reject(
          new Failure("not_found", `can't run ${program} (${cause.code ?? cause.message})`, {
            hint: "is it installed, and on PATH?",
            cause,
          }),
        ),
      );
      child.once("exit", (status, signal) => resolve(status ?? 128 + (signal ? system.signals[signal] : 0)));
    });
  } finally {
    for (const signal of forwarded) context.signals.off(signal, forward);
  }
};
