// The private folder under the XDG config folder: one JSON file per thing, named by a digest of its key (never by a name that
// somebody else chose), 0600 inside 0700, written whole and moved into place.
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import type * as z from "zod";

/** $XDG_CONFIG_HOME/sallyport, else ~/.config/sallyport. The standard says that a relative path is to be ignored. */
export const configFolder = (env: Readonly<NodeJS.ProcessEnv>): string => {
  const xdg = env["XDG_CONFIG_HOME"];
  return join(xdg?.startsWith("/") ? xdg : join(env["HOME"] ?? homedir(), ".config"), "sallyport");
};

const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 32);

const makePrivate = (folder: string): void => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // it may have been there before, made by somebody less careful
  chmodSync(folder, 0o700);
};

const writePrivate = (file: string, text: string): void => {
  const fresh = `${file}.${randomBytes(6).toString("hex")}`;
  writeFileSync(fresh, text, { mode: 0o600, flag: "wx" });
  renameSync(fresh, file);
};

const isMissing = (thrown: unknown): boolean =>
  thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR");

/** A set of like things, by key. */
export interface Drawer<T> {
  get(key: string): T | undefined;
  list(): readonly T[];
  put(key: string, value: T): void;
  remove(key: string): void;
}

/** `schema` says what a file holds; `plain` gives back what JSON can carry. */
export const openDrawer = <T>(
  configDir: string,
  name: string,
  schema: z.ZodType<T>,
  plain: (value: T) => unknown,
): Drawer<T> => {
  const folder = join(configDir, name);
  const fileOf = (key: string): string => join(folder, `${digest(key)}.json`);
  const read = (file: string): T | undefined => {
    try {
      return schema.parse(JSON.parse(readFileSync(file, "utf8")));
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw new Failure("unavailable", `can't read ${file}`, { hint: "remove the file and log in again", cause });
    }
  };
  return {
    get: (key) => read(fileOf(key)),
    list: () => {
      try {
        return readdirSync(folder)
          .filter((file) => file.endsWith(".json"))
          .sort()
          .flatMap((file) => read(join(folder, file)) ?? []);
      } catch (thrown) {
        if (isMissing(thrown)) return [];
        throw thrown;
      }
    },
    put: (key, value) => {
      makePrivate(configDir);
      makePrivate(folder);
      writePrivate(fileOf(key), `${JSON.stringify(plain(value), undefined, 2)}\n`);
    },
    remove: (key) => rmSync(fileOf(key), { force: true }),
  };
};

/** Keeps a CA's PEM where a client program can read it; named by its content, so the same CA is one file. */
export const keepCa = (configDir: string, pem: string): string => {
  const folder = join(configDir, "ca");
  makePrivate(configDir);
  makePrivate(folder);
  const file = join(folder, `${digest(pem)}.pem`);
  writePrivate(file, pem);
  return file;
};

export const forgetCas = (configDir: string): void => rmSync(join(configDir, "ca"), { recursive: true, force: true });
