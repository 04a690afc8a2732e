// An invite as it is shown, once, to the administrator who made it.
import type { Output } from "@sallyport/core/api";
import type { Context } from "./context.ts";
import { type Format, printAs } from "./format.ts";
import { requireProfile } from "./profile.ts";
import { commandLine } from "./shell.ts";
import { note, say } from "./terminal.ts";
import { describeExpiry } from "./when.ts";

export const printInvite = (context: Context, format: Format, answer: Output<"invite">): void => {
  const { server } = requireProfile(context);
  const { invite, user, expiresAt } = answer;
  printAs(context, format, answer, () => {
    say(context, `invite for ${user}: ${invite}`);
    note(context, `it works once, until ${describeExpiry(expiresAt, context.clock.now())}; they run:`);
    note(context, `  ${commandLine(["sally", "login", "--server", server, "--user", user, "--invite", invite])}`);
  });
};
