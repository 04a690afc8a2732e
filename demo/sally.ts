// Runs the real CLI as a person would, each person with a folder of their own.
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { command, say } from "./terminal.ts";

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Person {
  readonly name: string;
  /** Prints the command and what came back; throws when it ends with another status than expected. */
  run(args: readonly string[], options?: { input?: string; expect?: number; quiet?: boolean }): Promise<Result>;
  /** A command that stays: resolves when a line of its output matches, and ends with the returned stop. */
  stay(args: readonly string[], until: RegExp): Promise<{ match: RegExpExecArray; stop(): Promise<void> }>;
  forget(): Promise<void>;
}

/** Is a program there that the tour would like to show? */
export const onPath = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

const entry = new URL("../packages/cli/src/main.ts", import.meta.url).pathname;
const shown = (args: readonly string[]): string =>
  args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`)).join(" ");

const finished = (child: ChildProcess): Promise<Result> =>
  new Promise((resolve, reject) => {
    let [stdout, stderr] = ["", ""];
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });

/** `env`: what this person has beside their own config folder, such as AWS credentials. */
export const openPerson = async (
  name: string,
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Person> => {
  const config = join(folder, name);
  await mkdir(config, { recursive: true, mode: 0o700 });
  const start = (args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [entry, ...args], {
      env: { PATH: process.env["PATH"], HOME: config, XDG_CONFIG_HOME: config, NO_COLOR: "1", ...env },
      stdio: "pipe",
    });
  return {
    name,
    async run(args, { input = "", expect = 0, quiet = false } = {}) {
      if (!quiet) command(`npx sally ${shown(args)}`);
      const child = start(args);
      child.stdin?.end(input);
      const result = await finished(child);
      if (!quiet) say(result.stdout + result.stderr);
      if (result.code !== expect)
        throw new Error(
          `sally ${shown(args)} ended with ${result.code}, not ${expect}: ${result.stderr || result.stdout}`,
        );
      return result;
    },
    async stay(args, until) {
      command(`npx sally ${shown(args)}`);
      const child = start(args);
      const ended = finished(child);
      const match = await new Promise<RegExpExecArray>((resolve, reject) => {
        let text = "";
        child.stdout?.on("data", (chunk: string) => {
          text += chunk;
          const found = until.exec(text);
          if (found) resolve(found);
        });
        ended.then(({ stderr }) => reject(new Error(`sally ${shown(args)} ended: ${stderr}`)), reject);
      });
      return {
        match,
        stop: async () => {
          child.kill("SIGINT");
          await ended;
        },
      };
    },
    forget: () => rm(config, { recursive: true, force: true }),
  };
};

/** The URL with a bearer token for the plain port, as `sally db login` gives it to a stock client. */
export const loginUrl = async (person: Person, database: string, ...wish: readonly string[]): Promise<string> => {
  const { stdout } = await person.run(["db", "login", database, ...wish, "-f", "json"], { quiet: true });
  return (JSON.parse(stdout) as { url: string }).url;
};
