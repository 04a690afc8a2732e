// sally get: resources as they are, in the form that `sally create` reads.
import { type Document, type ManagedUserDocument, resourceKinds } from "@sallyport/core/api";
import type { Command } from "commander";
import { stringify } from "yaml";
import type { Context } from "../context.ts";
import { parseReference } from "../document.ts";
import { type Format, formatOption, printAs } from "../format.ts";
import { openApi } from "../profile.ts";
import { printTable } from "../table.ts";
import { note, withProgress } from "../terminal.ts";

/** Of managed users people want to know how they are; they have no revision and no description. */
const printManaged = (context: Context, found: readonly ManagedUserDocument[]): void =>
  printTable(
    context,
    ["Managed user", "State", "Last success", "Next due", "Budget", "Last error"],
    found.map(
      ({ metadata, spec: { state, last_success: success, next_due: due, budget, failures, last_error: error } }) => [
        metadata.name,
        failures === 0 ? state : `${state}, failed ${failures} ${failures === 1 ? "time" : "times"}`,
        success ?? "never",
        due,
        `${budget.scheduled.used}/${budget.scheduled.most}, by hand ${budget.spare.used}/${budget.spare.most}`,
        error === undefined ? "" : `${error.at} ${error.message}`,
      ],
    ),
  );

const print = (context: Context, found: readonly Document[]): void => {
  const managed = found.flatMap((document) => (document.kind === "managed_user" ? [document] : []));
  if (managed.length > 0) printManaged(context, managed);
  else
    printTable(
      context,
      ["Kind", "Name", "Description", "Revision"],
      found.map(({ kind, metadata }) => [
        kind,
        metadata.name,
        metadata.description ?? "",
        metadata.revision === undefined ? "" : String(metadata.revision),
      ]),
    );
};

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
  printAs(context, format, name === undefined ? found : found[0], () => print(context, found));
};

export const get = (program: Command, context: Context): void => {
  program
    .command("get")
    .description(`print resources: ${resourceKinds.join(", ")}`)
    .argument("<kind[/name]>", "what to print")
    .addOption(formatOption(["yaml", "json", "text"], "yaml"))
    .action((reference: string, { format }: { format: Format }) => act(context, reference, format));
};
