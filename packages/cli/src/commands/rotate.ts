// sally rotate: a managed user's password is changed now rather than when its time comes, and what becomes of it is waited for. It
// takes a minute or two: AWS tells every node first, and no password is promoted before it has logged in at each of them.
import type { Client } from "@sallyport/client/client";
import type { ManagedUserDocument } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { documentNameOf } from "@sallyport/core/managed-document";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { readDuration } from "../option.ts";
import { openApi } from "../profile.ts";
import { note, printable, say, withProgress } from "../terminal.ts";

interface Options {
  readonly wait: boolean;
  readonly timeout: number;
  readonly format: Format;
}

const everyMs = 5_000;
const usualMs = 10 * 60_000;

const read = async (api: Client, name: string): Promise<ManagedUserDocument> => {
  const found = await api.call("getResource", { kind: "managed_user", name: documentNameOf(name) });
  if (found.kind !== "managed_user") throw new Failure("unavailable", `the server took ${name} for a ${found.kind}`);
  return found;
};

/** What stands at each step, and what has to happen next. */
const steps = {
  due: "waits for its turn",
  staged: "the new password is kept, not yet at the user",
  applied: "AWS tells every node of the new password",
  verified: "the new password logs in at every node",
  current: "logs in by its newest password",
  leaving: "is no longer to be managed",
  ended: "is no longer managed",
} as const satisfies Record<ManagedUserDocument["spec"]["state"], string>;

const describe = ({ spec: { state, failures, retry_at: retry, last_error: error } }: ManagedUserDocument): string => {
  const why = error && (failures > 0 || retry !== undefined) ? `; the last attempt failed: ${error.message}` : "";
  return `${state}: ${steps[state]}${why}`;
};

/** Looks again until a rotation has come to its end since. @throws Failure `timeout` that says at which step it stands */
const settle = async (
  context: Context,
  api: Client,
  before: ManagedUserDocument,
  patience: number,
): Promise<ManagedUserDocument> => {
  const { name } = before.metadata;
  const untilAt = context.clock.now() + patience;
  let told = "";
  for (;;) {
    const now = await read(api, name);
    if (now.spec.last_success !== before.spec.last_success && now.spec.state === "current") return now;
    const says = describe(now);
    if (says !== told) note(context, printable(`${name} ${says}`));
    told = says;
    if (context.clock.now() + everyMs > untilAt)
      throw new Failure("timeout", `${name} is not rotated yet: it is ${says}`, {
        hint: `it goes on by itself: sally get managed_user/${name}`,
      });
    await context.sleep(everyMs);
  }
};

const act = async (context: Context, user: string, { wait, timeout, format }: Options): Promise<void> => {
  const api = openApi(context);
  const before = await withProgress(context, `looking for ${user}`, read(api, user));
  const { name } = before.metadata;
  const asked = await withProgress(context, `rotating ${name}`, api.call("rotate", { user: name }));
  const now = wait ? await settle(context, api, before, timeout) : asked;
  printAs(context, format, now, () => {
    const { state, next_due: due } = now.spec;
    say(context, printable(`${name} ${wait ? `rotated; next at ${due}` : describe(now)}`));
    if (!wait && state !== "current") note(context, `how it goes on: sally get managed_user/${name}`);
  });
};

export const rotate = (program: Command, context: Context): void => {
  program
    .command("rotate")
    .description("change a managed user's password now (administrators)")
    .argument("<user>", "a managed user: sally get managed_user lists them")
    .option("--no-wait", "only begin; the rotation goes on by itself")
    .option("--timeout <duration>", "how long to wait for its end", readDuration, usualMs)
    .addOption(formatOption(listing))
    .action((user: string, options: Options) => act(context, user, options));
};
