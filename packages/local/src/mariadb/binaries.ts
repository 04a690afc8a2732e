// Where MariaDB's programs are: Debian's package, or whatever is on PATH. None comes from npm, so it may be missing, and
// whoever needs it can ask before. The server never runs as root.
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";

const run = promisify(execFile);
const nobody = 65_534;

export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}
export interface Binaries {
  /** The full paths of `mariadbd` and `mariadb-install-db`. */
  readonly server: string;
  readonly install: string;
  /** `10.11.19-MariaDB…`. */
  readonly version: string;
  /** Whom the programs run as: nobody when we are root, else ourselves. */
  readonly account: Account;
}

const account: Account = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

const findProgram = (name: string): string | undefined =>
  [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/usr/local/sbin"]
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return path.startsWith("/");
      } catch {
        return false;
      }
    });

/** How to get it, for whoever goes on without. */
export const howToInstall = "apt-get install mariadb-server";

/** @throws Failure `unsupported` where it is not installed, or does not run */
export const findBinaries = async (): Promise<Binaries> => {
  const [server, install] = [findProgram("mariadbd"), findProgram("mariadb-install-db")];
  if (server === undefined || install === undefined)
    throw new Failure("unsupported", "no mariadbd on PATH or in /usr/sbin", { hint: howToInstall });
  try {
    const { stdout } = await run(server, ["--no-defaults", "--version"], { ...account, cwd: "/" });
    const version = /Ver (\S+)/.exec(stdout)?.[1];
    if (version === undefined) throw new Error(stdout);
    return { server, install, version, account };
  } catch (cause) {
    throw new Failure("unsupported", `${server} does not run`, { cause, hint: howToInstall });
  }
};

/** Undefined where it is not installed: the account then goes on without. */
export const haveBinaries = (): Promise<Binaries | undefined> => findBinaries().catch(() => undefined);
