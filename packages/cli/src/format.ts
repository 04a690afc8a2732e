// The formats of a result: text for people, json and yaml for programs. One option, the same on every command that lists.
import { Option } from "commander";
import { stringify } from "yaml";
import type { Context } from "./context.ts";

export type Format = "text" | "json" | "yaml" | "cmd";

export const formatOption = <const F extends readonly Format[]>(choices: F, standard: F[number] = "text"): Option =>
  new Option("-f, --format <format>", "how to print it").choices(choices).default(standard);

/** Prints data as asked; `text` runs only for people. */
export const printAs = (context: Context, format: Format, data: unknown, text: () => void): void => {
  if (format === "json") context.stdout.write(`${JSON.stringify(data, undefined, 2)}\n`);
  else if (format === "yaml") context.stdout.write(stringify(data, { lineWidth: 0 }));
  else text();
};

export const listing = ["text", "json", "yaml"] as const;
