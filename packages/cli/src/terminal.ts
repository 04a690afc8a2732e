// What may reach a terminal. Rules: text from elsewhere (tags, messages) never carries control characters; colour only on
// a terminal and never with NO_COLOR; errors go to stderr as `error: …` then `hint: …`; a wait over a second says why.
import { styleText } from "node:util";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Context, Output } from "./context.ts";

/** Control characters, line separators and characters nobody sees written out, so that a tag can't move the cursor or hide text. */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });

type Style = Parameters<typeof styleText>[0];
export const colour = (context: Context, stream: Output, style: Style, text: string): string =>
  stream.isTTY && !context.env["NO_COLOR"] && context.env["TERM"] !== "dumb"
    ? styleText(style, text, { validateStream: false })
    : text;

/** One line on stdout. */
export const say = (context: Context, line: string): void => void context.stdout.write(`${line}\n`);
/** One line beside the result: what was done, what to do next. */
export const note = (context: Context, line: string): void => void context.stderr.write(`${line}\n`);

/** Lines of a message from elsewhere, each made printable. */
const lines = (text: string): string => text.split("\n").map(printable).join("\n       ");

export const reportFailure = (context: Context, thrown: unknown): Failure => {
  const failure = toFailure(thrown);
  note(context, `${colour(context, context.stderr, ["bold", "red"], "error:")} ${lines(failure.message)}`);
  const ours = failure.code === "internal" && !(thrown instanceof Failure);
  const hint = failure.hint ?? (ours ? "run it again with SALLYPORT_DEBUG=1 to see where" : undefined);
  if (hint !== undefined) note(context, `${colour(context, context.stderr, "cyan", "hint:")} ${lines(hint)}`);
  if (context.env["SALLYPORT_DEBUG"] && failure.cause !== undefined)
    note(context, failure.cause instanceof Error ? `${failure.cause.stack}` : `cause: ${String(failure.cause)}`);
  return failure;
};

const patienceMs = 1000;

/** Says on a terminal what is being waited for, once it takes longer than a second. */
export const withProgress = async <T>(context: Context, what: string, work: Promise<T>): Promise<T> => {
  if (!context.stderr.isTTY) return work;
  let shown = false;
  const timer = setTimeout(() => {
    shown = true;
    context.stderr.write(`${colour(context, context.stderr, "dim", `${what} …`)}`);
  }, patienceMs);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
    if (shown) context.stderr.write("\r\x1b[2K");
  }
};
