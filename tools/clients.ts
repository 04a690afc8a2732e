// Brings the test clients that have a folder and a lockfile of their own (test/clients) onto the machine: they are larger than
// everything else together. Installed again when their lockfile has changed, and not otherwise.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const folder = resolve(root, "test/clients");
const stamp = resolve(folder, "node_modules/.stamp");
const command = "npm ci --prefix test/clients";

const wanted = (): string =>
  createHash("sha256")
    .update(readFileSync(resolve(folder, "package-lock.json")))
    .digest("hex");
const there = (): boolean => existsSync(stamp) && readFileSync(stamp, "utf8") === wanted();

/** The npm that runs us, where one does. */
const npm = (...args: string[]) => {
  const file = process.env["npm_execpath"];
  const options = { cwd: root, stdio: "inherit" } as const;
  return file?.endsWith(".js")
    ? spawnSync(process.execPath, [file, ...args], options)
    : spawnSync("npm", args, options);
};

/** Returns why they are not there, as one sentence, or undefined where they are. */
export const installClients = (): string | undefined => {
  if (there()) return undefined;
  const { status, signal } = npm("ci", "--prefix", "test/clients", "--no-progress");
  if (signal !== null) throw new Error(`${command} was stopped by ${signal}`);
  if (status !== 0) return `${command} failed, so the tests with mongosh are skipped: see its output above`;
  writeFileSync(stamp, wanted());
  return undefined;
};
