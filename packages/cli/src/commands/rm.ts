// sally rm: removes one resource.
import { Failure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { parseReference } from "../document.ts";
import { openApi } from "../profile.ts";
import { say, withProgress } from "../terminal.ts";

const act = async (context: Context, reference: string): Promise<void> => {
  const { kind, name } = parseReference(reference);
  if (!name) throw new Failure("invalid", `which ${kind}?`, { hint: `sally rm ${kind}/NAME` });
  await withProgress(context, `removing ${reference}`, openApi(context).call("removeResource", { kind, name }));
  say(context, `${kind} ${name} removed`);
};

export const rm = (program: Command, context: Context): void => {
  program
    .command("rm")
    .description("remove a resource")
    .argument("<kind/name>", "what to remove")
    .action((reference: string) => act(context, reference));
};
