// Where Redis is: Debian's package, or whatever is on PATH. It does not come from npm, so it may be missing, and whoever needs
// it can ask before.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";
import { findProgram, runner } from "../program.ts";

const run = promisify(execFile);

export interface Binaries {
  /** The full path of `redis-server`. */
  readonly server: string;
  /** `7.0.15`. */
  readonly version: string;
}

/** How to get it, for whoever goes on without. */
export const howToInstall = "apt-get install redis-server";

/** @throws Failure `unsupported` where it is not installed, does not run, or is older than ACLs by subcommand are (7.0) */
export const findBinaries = async (): Promise<Binaries> => {
  const server = findProgram("redis-server");
  if (server === undefined)
    throw new Failure("unsupported", "no redis-server on PATH or in /usr/bin", { hint: howToInstall });
  let version: string | undefined;
  try {
    const { stdout } = await run(server, ["--version"], { ...runner, cwd: "/" });
    version = /\bv=(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
    if (version === undefined) throw new Error(stdout);
  } catch (cause) {
    throw new Failure("unsupported", `${server} does not run`, { cause, hint: howToInstall });
  }
  if (Number(version.split(".")[0]) < 7)
    throw new Failure("unsupported", `${server} is ${version}, and 7.0 or later is needed`, { hint: howToInstall });
  return { server, version };
};

/** Undefined where it is not installed: the account then goes on without. */
export const haveBinaries = (): Promise<Binaries | undefined> => findBinaries().catch(() => undefined);
