// Asking again, by itself: what it costs when all that a client has asked is to be asked again.
import { type Ask, newAsk } from "@sallyport/wire/redis/ask";
import { openBranch } from "@sallyport/wire/redis/branch";
import type { Cluster } from "@sallyport/wire/redis/cluster";
import { openRecovery } from "@sallyport/wire/redis/recovery";
import { describe, expect, it } from "vitest";

const peer = { address: "10.0.0.1", port: 7001 };
const count = 4_000;

/** One that says how often it is looked at. */
const watched = (look: () => void): Ask => {
  const ask = newAsk(Buffer.alloc(0), 0, 0, 1);
  const kept = { turn: ask.turn, done: ask.done };
  const get = (name: keyof typeof kept) => () => {
    look();
    return kept[name];
  };
  const set = (is: boolean): void => {
    kept.done = is;
  };
  return Object.defineProperties(ask, { turn: { get: get("turn") }, done: { get: get("done"), set } });
};

describe("a slot that has moved under many commands", () => {
  it.each([
    ["in the order in which they were asked", (asks: readonly Ask[]) => asks],
    ["the other way round", (asks: readonly Ask[]) => asks.toReversed()],
  ])("S-36 each is looked at a few times, however many there are: %s", async (_, inOrder) => {
    let looks = 0;
    const asks = Array.from({ length: count }, () => watched(() => looks++));
    const sent: Ask[] = [];
    const { promise: all, resolve, reject } = Promise.withResolvers<void>();
    const branch = openBranch(peer, new Promise(() => {}), {} as Parameters<typeof openBranch>[2]);
    const cluster: Partial<Cluster> = {
      settle: () => {},
      topology: () => ({ primaries: [], owners: new Uint16Array(), named: new Map([["10.0.0.1:7001", peer]]) }),
      send: (__, ask) => {
        if (sent.push(ask) === count) resolve();
      },
    };
    const recovery = openRecovery({
      ...{ cluster: cluster as Cluster, look: () => Promise.reject(new Error("nobody asks")), branchAt: () => branch },
      ...{ moved: () => true, broken: reject, done: () => recovery.poke(), now: () => 0 },
    });
    for (const ask of inOrder(asks)) recovery.failed(ask, "MOVED 1 10.0.0.1:7001", peer);
    await all;
    expect(sent.every((ask, at) => ask === asks[at])).toBe(true);
    for (const ask of sent) {
      ask.done = true;
      recovery.poke();
    }
    expect(looks).toBeLessThan(50 * count);
  });
});
