// Other people's programs in tests: found on PATH, run with a given environment, ended with the test.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface Running {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  /** What it wrote until now. */
  stdout(): string;
  stderr(): string;
}

export const isOnPath = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

export const python = "/usr/bin/python3";

/** Why this Python module can't be used; undefined when it can. */
export const missingModule = async (name: string): Promise<string | undefined> => {
  try {
    await promisify(execFile)(python, ["-c", `import ${name}`]);
    return undefined;
  } catch {
    return `${python} has no module ${name}: apt install python3-${name}`;
  }
};

/** Starts it with nothing of our environment but PATH. Input is written and closed, unless it is left open. */
export const start = (
  program: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly input?: string; readonly open?: true } = {},
): Running => {
  const env = { PATH: process.env["PATH"], LC_ALL: "C.UTF-8", ...options.env };
  // whatever hangs must not outlive its test
  const child = spawn(program, args, { env, stdio: "pipe", timeout: 50_000, killSignal: "SIGKILL" });
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
  child.stdin.on("error", () => {});
  if (!options.open) child.stdin.end(options.input ?? "");
  const textOf = (from: "stdout" | "stderr") => (): string => Buffer.concat(chunks[from]).toString();
  const [stdout, stderr] = [textOf("stdout"), textOf("stderr")];
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stdout: stdout(), stderr: stderr() }));
  });
  return { child, outcome, stdout, stderr };
};

export const run = (...of: Parameters<typeof start>): Promise<Outcome> => start(...of).outcome;
