// Options that several commands share, and how their values are read. A value that can't be read is a usage error.

import { parseDuration } from "@sallyport/core/duration";
import { type Command, InvalidArgumentError } from "commander";

/** `8h`, `1h30m` → milliseconds */
export const readDuration = (text: string): number => {
  const ms = parseDuration(text);
  if (ms === undefined || ms <= 0) throw new InvalidArgumentError("Not a duration such as 15m, 8h or 1h30m.");
  return ms;
};

export const readPort = (text: string): number => {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= 1 && port <= 65_535)) throw new InvalidArgumentError("Not a port, 1 to 65535.");
  return port;
};

/** `a,b` → [a, b]; given again, it adds. */
export const readList = (text: string, earlier: readonly string[] = []): readonly string[] => [
  ...earlier,
  ...text.split(",").filter((part) => part !== ""),
];

export interface WishOptions {
  readonly dbUser?: string;
  readonly dbName?: string;
}

export const withWish = (command: Command): Command =>
  command
    .option("-u, --db-user <dbuser>", "database user; may be left out when your roles name only one")
    .option("-n, --db-name <dbname>", "database name; may be left out when your roles name only one");
