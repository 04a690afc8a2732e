// sally users ls: everybody, with their roles and traits.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { openApi } from "../profile.ts";
import { printTable } from "../table.ts";
import { withProgress } from "../terminal.ts";

const act = async (context: Context, format: Format): Promise<void> => {
  const listed = openApi(context).call("listResources", { kind: "user" });
  const { resources } = await withProgress(context, "listing users", listed);
  const users = resources.flatMap((document) =>
    document.kind === "user" ? [{ name: document.metadata.name, ...document.spec }] : [],
  );
  printAs(context, format, users, () =>
    printTable(
      context,
      ["Name", "State", "Roles", "Traits"],
      users.map(({ name, state, roles, traits }) => [
        name,
        state ?? "",
        roles.join(", "),
        Object.entries(traits ?? {})
          .map(([trait, values]) => `${trait}=${values.join("|")}`)
          .join(", "),
      ]),
    ),
  );
};

export const usersLs = (users: Command, context: Context): void => {
  users
    .command("ls")
    .description("list users")
    .addOption(formatOption(listing))
    .action(({ format }: { format: Format }) => act(context, format));
};
