// sally init: the first administrator, and the way back in when nobody can log in. Only AWS's own permissions guard it: who
// may invoke the bootstrap function may do this. Credentials and region come from the AWS SDK's usual places.
import { InviteAnswer } from "@sallyport/core/api";
import { Failure, type FailureCode } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import type { Command } from "commander";
import * as z from "zod";
import type { Context } from "../context.ts";
import { formatOption, listing, printAs } from "../format.ts";
import { commandLine } from "../shell.ts";
import { note, say, withProgress } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

const standardFunction = "sallyport-production-bootstrap";

const BootstrapAnswer = InviteAnswer.extend({ api: z.string().optional() });
const BootstrapError = z.object({
  errorMessage: z.string().catch("it did not say why"),
});

interface Options {
  readonly aws?: true;
  readonly function: string;
  readonly user: string;
  readonly format: "text" | "json" | "yaml";
}

const reasons: Readonly<Record<string, { readonly code: FailureCode; readonly hint: string }>> = {
  AccessDeniedException: { code: "denied", hint: "your AWS identity needs lambda:InvokeFunction on this function" },
  ResourceNotFoundException: { code: "not_found", hint: "name it with --function, and check AWS_REGION" },
  CredentialsProviderError: { code: "not_logged_in", hint: "log in to AWS, or set AWS_PROFILE" },
  TooManyRequestsException: { code: "too_many", hint: "try again in a moment" },
};

const explain = (name: string, thrown: unknown): Failure => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const known = reasons[error.name];
  return new Failure(known?.code ?? "unavailable", `can't invoke ${name}: ${error.message || error.name}`, {
    hint: known?.hint ?? "check AWS_REGION and your AWS credentials",
    cause: thrown,
  });
};

const invoke = async (name: string, payload: unknown): Promise<unknown> => {
  // half a second to load, and needed here alone
  const { InvokeCommand, LambdaClient } = await import("@aws-sdk/client-lambda");
  const client = new LambdaClient({});
  try {
    const answer = await client.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(payload) }));
    const body: unknown = JSON.parse(Buffer.from(answer.Payload ?? []).toString() || "null");
    if (!answer.FunctionError) return body;
    const { errorMessage } = BootstrapError.parse(body ?? {});
    throw new Failure("unavailable", `${name} failed: ${errorMessage}`, { hint: "its log says more" });
  } catch (thrown) {
    throw thrown instanceof Failure ? thrown : explain(name, thrown);
  } finally {
    client.destroy();
  }
};

const act = async (context: Context, options: Options): Promise<void> => {
  if (!options.aws)
    throw new Failure("invalid", "say by which identity", { hint: "sally init --aws uses your AWS credentials" });
  const body = await withProgress(context, "asking for an invite", invoke(options.function, { user: options.user }));
  const answer = BootstrapAnswer.safeParse(body);
  if (!answer.success)
    throw new Failure("unavailable", `${options.function} answered something else than an invite`, {
      hint: "is it the bootstrap function of this version?",
      cause: describeIssues(answer.error.issues),
    });
  const { invite, user, expiresAt, api } = answer.data;
  printAs(context, options.format, answer.data, () => {
    say(context, `invite for ${user}: ${invite}`);
    note(context, `it works once, until ${describeExpiry(expiresAt, context.clock.now())}`);
    const server = api === undefined ? "URL" : api;
    note(context, `next: ${commandLine(["sally", "login", "--server", server, "--user", user, "--invite", invite])}`);
  });
};

export const init = (program: Command, context: Context): void => {
  program
    .command("init")
    .description("invite the first administrator, with your AWS credentials")
    .option("--aws", "invoke the bootstrap function as your AWS identity")
    .option(
      "--function <name>",
      "the bootstrap function's name or ARN",
      context.env["SALLYPORT_BOOTSTRAP_FUNCTION"] ?? standardFunction,
    )
    .option("--user <user>", "who becomes administrator", "admin")
    .addOption(formatOption(listing))
    .action((options: Options) => act(context, options));
};
