// What the demo prints: numbered steps with their time, the commands a person would type, what came back.
import { styleText } from "node:util";

const plain = !process.stdout.isTTY || process.env["NO_COLOR"] !== undefined;
const style = (format: Parameters<typeof styleText>[0], text: string): string =>
  plain ? text : styleText(format, text);
const startedAt = performance.now();
const seconds = (): string => `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s`;

/** A step of the tour begins. */
export const step = (title: string): void => console.log(`\n${style("dim", seconds())}  ${style("bold", title)}`);

/** One line of progress or result. */
export const say = (text: string): void => {
  for (const line of text.trimEnd().split("\n")) console.log(`         ${line}`);
};

/** A command as a person would type it. */
export const command = (text: string): void => console.log(`         ${style("cyan", `$ ${text}`)}`);

export const good = (text: string): void => say(`${style("green", "ok")}  ${text}`);
