// Columns of text that fit the terminal: the widest columns give way first and the first column, by which a thing is named,
// last; cells never wrap, nothing is cut when the output is no terminal.
import type { Context } from "./context.ts";
import { colour, printable } from "./terminal.ts";

const gap = 2;
const smallest = 8;

/** Takes from the widest column, one character at a time, until the row fits or nothing more can give. */
const fitWidths = (widths: readonly number[], available: number): readonly number[] => {
  const fitted = [...widths];
  let excess = fitted.reduce((sum, width) => sum + width + gap, -gap) - available;
  for (const from of [1, 0])
    while (excess > 0) {
      const widest = Math.max(...fitted.slice(from));
      if (widest <= smallest) break;
      fitted[fitted.indexOf(widest, from)] = widest - 1;
      excess -= 1;
    }
  return fitted;
};

const cut = (text: string, width: number): string => {
  const characters = [...text];
  return characters.length > width ? `${characters.slice(0, width - 1).join("")}…` : text;
};

export const formatTable = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
  available: number,
): readonly string[] => {
  const cells = [head, ...rows].map((row) => row.map(printable));
  const natural = head.map((_, column) => Math.max(...cells.map((row) => [...(row[column] ?? "")].length)));
  const widths = fitWidths(natural, available);
  return cells.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        const text = cut(cell, width);
        return text + " ".repeat(Math.max(0, width - [...text].length));
      })
      .join(" ".repeat(gap))
      .trimEnd(),
  );
};

export const printTable = (context: Context, head: readonly string[], rows: readonly (readonly string[])[]): void => {
  const available = context.stdout.isTTY ? context.stdout.columns || 80 : Number.POSITIVE_INFINITY;
  const [first = "", ...rest] = formatTable(head, rows, available);
  context.stdout.write([colour(context, context.stdout, "bold", first), ...rest].map((line) => `${line}\n`).join(""));
};
