// What a client of a cluster says, gathered: in any pieces, and in time that grows with its length.
import { openIntake } from "@sallyport/wire/redis/intake";
import { command } from "@sallyport/wire/redis/message";
import { bytesAt } from "@sallyport/wire/redis/word";
import fc from "fast-check";
import { expect, test } from "vitest";

/** What was taken, where each is offered once in vain before it is taken. */
const takenOf = (bytes: Buffer, cuts: readonly number[], hesitates: boolean): readonly string[] => {
  const taken: string[] = [];
  let ready = !hesitates;
  const intake = openIntake({
    free: () => true,
    take: (words, from, to) => {
      if (!ready) {
        ready = true;
        return false;
      }
      ready = !hesitates;
      taken.push(`${words.count} ${bytesAt(words, words.count - 1)} ${to - from}`);
      return true;
    },
  });
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    intake.push(bytes.subarray(from, cut));
    for (let turn = 0; turn < 2 * bytes.length && (turn < 4 || !intake.empty()); turn++) intake.go();
    from = cut;
  }
  return taken;
};

test("S-23 any commands in any pieces are taken one by one", () => {
  const line = fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(line, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      fc.boolean(),
      (lines, places, hesitates) => {
        const all = lines.map((words) => command(...words));
        const bytes = Buffer.concat(all);
        const cuts = places.map((place) => Math.min(place, bytes.length)).sort((one, other) => one - other);
        const expected = lines.map((words, at) => `${words.length} ${words.at(-1)} ${all[at]?.length}`);
        expect(takenOf(bytes, cuts, hesitates)).toEqual(expected);
      },
    ),
    { numRuns: 500 },
  );
});

test("S-36 a command of 50,000 arguments keeps nobody waiting", () => {
  const keys = Array.from({ length: 50_000 }, (_, at) => `key:${at}`);
  const bytes = Buffer.concat([command("DEL", ...keys), command("PING")]);
  const cuts = Array.from({ length: Math.floor(bytes.length / 65_536) }, (_, at) => (at + 1) * 65_536);
  const startedAt = performance.now();
  const taken = takenOf(bytes, cuts, false);
  // argument by argument it would be minutes
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  expect(taken.map((one) => one.split(" ")[0])).toEqual(["50001", "1"]);
}, 60_000);
