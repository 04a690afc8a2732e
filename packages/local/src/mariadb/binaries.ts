// Where MariaDB's programs are: Debian's package, or whatever is on PATH. None comes from npm, so it may be missing, and
// whoever needs it can ask before. The server never runs as root.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";
import { findProgram, type Runner, runner } from "../program.ts";

const run = promisify(execFile);

export interface Binaries {
  /** The full paths of `mariadbd` and `mariadb-install-db`. */
  readonly server: string;
  readonly install: string;
  /** `10.11.19-MariaDB…`. */
  readonly version: string;
  /** Whom the programs run as: nobody when we are root, else ourselves. */
  readonly account: Runner;
}

/** How to get it, for whoever goes on without. */
export const howToInstall = "apt-get install mariadb-server";

/** @throws Failure `unsupported` where it is not installed, or does not run */
export const findBinaries = async (): Promise<Binaries> => {
  const [server, install] = [findProgram("mariadbd"), findProgram("mariadb-install-db")];
  if (server === undefined || install === undefined)
    throw new Failure("unsupported", "no mariadbd on PATH or in /usr/sbin", { hint: howToInstall });
  try {
    const { stdout } = await run(server, ["--no-defaults", "--version"], { ...runner, cwd: "/" });
    const version = /Ver (\S+)/.exec(stdout)?.[1];
    if (version === undefined) throw new Error(stdout);
    return { server, install, version, account: runner };
  } catch (cause) {
    throw new Failure("unsupported", `${server} does not run`, { cause, hint: howToInstall });
  }
};

/** Undefined where it is not installed: the account then goes on without. */
export const haveBinaries = (): Promise<Binaries | undefined> => findBinaries().catch(() => undefined);
