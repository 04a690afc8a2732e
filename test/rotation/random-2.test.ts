import { it } from "vitest";
import { runSeeds } from "./random.ts";

it(
  "I1 I2 I3 I4 I5 I6 I7 S-40 hold at every instant of schedules at random: seeds 5001 to 10000",
  { timeout: 600_000 },
  () => runSeeds(5001, 10000),
);
