// sally create: resources from a file. All documents are read and checked before the first is sent. What exists already is a
// conflict, unless --force; then the revision that was read is the one that is replaced, so nobody's change is lost unseen.
import { readFileSync } from "node:fs";
import type { Client } from "@sallyport/client/client";
import type { Document } from "@sallyport/core/api";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { parseDocuments } from "../document.ts";
import { openApi } from "../profile.ts";
import { say, withProgress } from "../terminal.ts";

const limit = 1 << 20;

const tooLarge = (name: string): Failure => new Failure("too_large", `${name} is larger than 1 MiB`);

const readSource = async (context: Context, file: string): Promise<string> => {
  if (file !== "-") {
    try {
      const text = readFileSync(file, "utf8");
      if (text.length > limit) throw tooLarge(file);
      return text;
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      throw new Failure("invalid", `can't read ${file}`, { hint: "is that the file's name?", cause: thrown });
    }
  }
  let text = "";
  for await (const chunk of context.stdin) {
    text += String(chunk);
    if (text.length > limit) throw tooLarge("standard input");
  }
  return text;
};

/** The revision to replace, or undefined when there is nothing yet. */
const readRevision = async (api: Client, { kind, metadata }: Document): Promise<number | undefined> => {
  try {
    return (await api.call("getResource", { kind, name: metadata.name })).metadata.revision;
  } catch (thrown) {
    if (toFailure(thrown).code === "not_found") return undefined;
    throw thrown;
  }
};

const put = async (api: Client, document: Document, force: boolean): Promise<"created" | "updated"> => {
  const { kind, metadata } = document;
  const revision = metadata.revision ?? (force ? await readRevision(api, document) : undefined);
  const whole = revision === undefined ? document : { ...document, metadata: { ...metadata, revision } };
  try {
    await api.call("putResource", { kind, name: metadata.name, document: whole });
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (failure.code !== "conflict" || force || metadata.revision !== undefined) throw thrown;
    throw new Failure("conflict", `${kind} ${metadata.name} exists already`, {
      hint: "replace it with --force",
      cause: thrown,
    });
  }
  return revision === undefined ? "created" : "updated";
};

const act = async (context: Context, options: { filename: string; force?: true }): Promise<void> => {
  const source = options.filename === "-" ? "standard input" : options.filename;
  const documents = parseDocuments(await readSource(context, options.filename), source);
  const api = openApi(context);
  for (const document of documents) {
    const { kind, metadata } = document;
    const done = await withProgress(
      context,
      `sending ${kind} ${metadata.name}`,
      put(api, document, options.force === true),
    );
    say(context, `${kind} ${metadata.name} ${done}`);
  }
};

export const create = (program: Command, context: Context): void => {
  program
    .command("create")
    .description("create resources from a file: role, user, db, lock, discovery_config")
    .requiredOption("-f, --filename <file>", "YAML, several documents allowed; - for standard input")
    .option("--force", "replace what exists already")
    .action((options: { filename: string; force?: true }) => act(context, options));
};
