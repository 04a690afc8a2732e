// sally get: resources as they are, in the form that `sally create` reads.
import type { Document } from "@sallyport/core/api";
import type { Command } from "commander";
import { stringify } from "yaml";
import type { Context } from "../context.ts";
import { parseReference } from "../document.ts";
import { type Format, formatOption, printAs } from "../format.ts";
import { openApi } from "../profile.ts";
import { printTable } from "../table.ts";
import { note, withProgress } from "../terminal.ts";

const act = async (context: Context, reference: string, format: Format): Promise<void> => {
  const { kind, name } = parseReference(reference);
  const api = openApi(context);
  const read = async (): Promise<readonly Document[]> =>
    name === undefined
      ? (await api.call("listResources", { kind })).resources
      : [await api.call("getResource", { kind, name })];
  const found = await withProgress(context, `reading ${reference}`, read());
  if (found.length === 0) note(context, `there is no ${kind}`);
  if (format === "yaml") {
    context.stdout.write(found.map((document) => stringify(document, { lineWidth: 0 })).join("---\n"));
    return;
  }
  printAs(context, format, name === undefined ? found : found[0], () =>
    printTable(
      context,
      ["Kind", "Name", "Description", "Revision"],
      found.map(({ kind: its, metadata }) => [
        its,
        metadata.name,
        metadata.description ?? "",
        metadata.revision === undefined ? "" : String(metadata.revision),
      ]),
    ),
  );
};

export const get = (program: Command, context: Context): void => {
  program
    .command("get")
    .description("print resources: role, user, db, lock, discovery_config")
    .argument("<kind[/name]>", "what to print")
    .addOption(formatOption(["yaml", "json", "text"], "yaml"))
    .action((reference: string, { format }: { format: Format }) => act(context, reference, format));
};
