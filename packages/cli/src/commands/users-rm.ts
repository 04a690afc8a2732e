// sally users rm: removes a user; their live sessions end within seconds.
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { openApi } from "../profile.ts";
import { say, withProgress } from "../terminal.ts";

const act = async (context: Context, name: string): Promise<void> => {
  const removed = openApi(context).call("removeResource", { kind: "user", name });
  await withProgress(context, `removing ${name}`, removed);
  say(context, `user ${name} removed`);
};

export const usersRm = (users: Command, context: Context): void => {
  users
    .command("rm")
    .description("remove a user")
    .argument("<name>", "user")
    .action((name: string) => act(context, name));
};
