// Bytes said in pieces and heard with pauses: what a relay must not be able to tell from bytes that come at once.
import type { Duplex } from "node:stream";
import fc from "fast-check";

const turn = (): Promise<void> => new Promise(setImmediate);

/** Writes `bytes` in pieces of these sizes. */
export const say = async (to: Duplex, bytes: Buffer, cuts: readonly number[]): Promise<void> => {
  let at = 0;
  for (let piece = 0; at < bytes.length; piece++) {
    const end = Math.min(bytes.length, at + (cuts[piece % cuts.length] ?? 1));
    if (!to.write(bytes.subarray(at, end))) await turn();
    at = end;
  }
};

/** Gathers what comes, now and then not listening. */
export const hear = (from: Duplex, pauses: readonly boolean[]) => {
  const state = { bytes: 0, chunks: [] as Buffer[] };
  let heard = 0;
  from.on("data", (chunk: Buffer) => {
    state.bytes += chunk.length;
    state.chunks.push(chunk);
    if (!pauses[heard++ % pauses.length]) return;
    from.pause();
    setImmediate(() => setImmediate(() => from.resume()));
  });
  return state;
};

/** Sizes of pieces, one of them long: nobody waits for thousands of bytes one by one. */
export const cuts = fc
  .array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(1_000, 16_384, 65_536, 70_000)), {
    minLength: 1,
    maxLength: 12,
  })
  .filter((sizes) => Math.max(...sizes) > 900);
export const flips = fc.array(fc.boolean(), { minLength: 1, maxLength: 8 });
