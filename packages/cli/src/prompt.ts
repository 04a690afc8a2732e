// Passwords and names from a person or a pipe. A password is never echoed and never an argument: arguments are seen by
// everybody on the machine. Without a terminal it is the first line of standard input.
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import type { Context } from "./context.ts";

const limit = 4096;

/** The first line of a pipe. @throws Failure `invalid` when there is none */
const readLine = async (context: Context, what: string): Promise<string> => {
  let text = "";
  for await (const chunk of context.stdin) {
    text += String(chunk);
    if (text.includes("\n") || text.length > limit) break;
  }
  const [line = ""] = text.split(/\r?\n/);
  if (line === "" || line.length > limit)
    throw new Failure("invalid", `no ${what} on standard input`, {
      hint: `give it as the first line, or run this on a terminal`,
    });
  return line;
};

const interrupted = (): Failure => new Failure("ended", "cancelled");

/** `fresh`: a new password, asked for twice on a terminal. */
export const askPassword = async (
  context: Context,
  options: { readonly what: string; readonly fresh: boolean; readonly stdin: boolean },
): Promise<Secret> => {
  if (options.stdin || !context.stdin.isTTY) return secret(await readLine(context, options.what));
  const { isCancel, password } = await import("@clack/prompts");
  const ask = async (message: string): Promise<string> => {
    // on stderr, so that stdout stays the result's
    const answer = await password({ message, mask: "", input: context.stdin, output: context.stderr });
    if (isCancel(answer)) throw interrupted();
    return answer;
  };
  const first = await ask(options.what);
  if (options.fresh && (await ask(`${options.what}, once more`)) !== first)
    throw new Failure("invalid", "the two passwords differ", { hint: "try again" });
  return secret(first);
};

/** A name that was not given as an option. @throws Failure `invalid` without a terminal */
export const askText = async (context: Context, message: string, flag: string): Promise<string> => {
  if (!context.stdin.isTTY) throw new Failure("invalid", `no ${message} was given`, { hint: `add ${flag}` });
  const { isCancel, text } = await import("@clack/prompts");
  const answer = await text({ message, input: context.stdin, output: context.stderr });
  if (isCancel(answer)) throw interrupted();
  return answer;
};
