// Interleaved rounds: each cell is measured for every way before the next cell, and each round begins with another way, so that
// none is always first.
import type { Cell } from "./cells.ts";
import type { Samples } from "./report.ts";
import type { Way } from "./way.ts";

export interface Rounds {
  readonly cells: readonly Cell[];
  readonly ways: readonly Way[];
  readonly rounds: number;
  readonly seconds: number;
}

/** How it was measured, as the report says it. */
export const describe = ({ rounds, seconds }: Rounds): string =>
  `${rounds} ${rounds === 1 ? "round" : "rounds"} of ${seconds} s`;

export const measureRounds = async ({ cells, ways, rounds }: Rounds, say: (text: string) => void): Promise<Samples> => {
  const samples: Samples = new Map();
  for (let round = 0; round < rounds; round++)
    for (const cell of cells) {
      if (cell.once && round > 0) continue;
      const among = ways.filter(({ name }) => cell.ways.includes(name));
      const shift = round % Math.max(among.length, 1);
      const said: string[] = [];
      for (const way of [...among.slice(shift), ...among.slice(0, shift)]) {
        const sample = await cell.measure(way);
        const byWay = samples.get(cell.name) ?? new Map();
        samples.set(cell.name, byWay);
        byWay.set(way.name, [...(byWay.get(way.name) ?? []), sample]);
        const numbers = Object.entries(sample).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
        said.push(`${way.name} ${numbers.join(" ")}`);
      }
      say(`${cell.name}: ${said.join(" | ")}`);
    }
  return samples;
};
