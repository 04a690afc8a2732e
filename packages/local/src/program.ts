// Programs that come with the system: where they are, and whom they run as. A database server never runs as root.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const nobody = 65_534;

/** Whom a program runs as: empty for ourselves. */
export interface Runner {
  readonly uid?: number;
  readonly gid?: number;
}

export const runner: Runner = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

/** The full path of a program on PATH or where Debian keeps servers; undefined where there is none. */
export const findProgram = (name: string): string | undefined =>
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
