// A lease is kept by writing: what changes the world is begun shortly after a write of our own, or not at all.
import { toItem } from "@sallyport/core/family";
import type { Kinds } from "@sallyport/core/kind";
import { type ManagedUser, managedKey } from "@sallyport/core/managed";
import { leaseFor, openRotator } from "@sallyport/core/rotator";
import { secret } from "@sallyport/core/secret";
import { expect, it } from "vitest";
import { openFakeKinds } from "../fakes/kinds.ts";
import { openFakeStore } from "../fakes/store.ts";
import { openFakeVault } from "../fakes/vault.ts";

const second = 1_000;
const version = "version-two".padEnd(32, "0");

/** A user whose new password is to be applied; each question about it takes as long as said. */
const open = async (...takes: readonly number[]) => {
  let now = Date.UTC(2026, 0, 5, 9);
  const [store, vault] = [openFakeStore(), openFakeVault()];
  const record: ManagedUser = {
    ...{ service: "elasticache", kind: "elasticache", partition: "aws", account: "111122223333", region: "eu-west-1" },
    ...{ arn: "arn:aws:elasticache:eu-west-1:111122223333:user:app", id: "app", user: "app", secret: "t/app/password" },
    ...{ caches: [], state: "staged", version, fence: 1, revision: 1, nextDueAt: now, failures: 0, misses: 0 },
    ...{ budget: { scheduled: [], spare: [] }, createdAt: 0 },
  };
  await store.write({ put: toItem(managedKey(record), record) });
  await vault.create(record.secret);
  await vault.stage(record.secret, version, secret("two".padEnd(128, "0")));
  let writtenAt = 0;
  const applied: number[] = [];
  const left = [...takes];
  const kinds: Partial<Kinds> = {
    elasticache: {
      ...openFakeKinds(new Map()).elasticache,
      userState: async () => {
        now += left.shift() ?? 0;
        return "active";
      },
      apply: async () => void applied.push(now - writtenAt),
    },
  };
  const { pass } = openRotator({
    store: {
      ...store,
      write: async (change) => {
        writtenAt = now;
        return store.write(change);
      },
    },
    ...{ vault, kinds, clock: { now: () => now }, owner: "us" },
    random: { bytes: (count) => new Uint8Array(count).fill(7) },
    probe: async () => ({ said: "ok" }),
  });
  return { applied, passed: await pass(record) };
};

it("I2 what was looked at for long is written about again before the user is changed", async () => {
  const { applied, passed } = await open(25 * second, 2 * second);
  expect(passed).toMatchObject({ outcome: "waiting", record: { state: "applied" } });
  expect(applied).toEqual([2 * second]);
});

it("I2 a change that would come to its end when the lease may be over is not begun", async () => {
  // AWS is given eighteen seconds to answer one
  const { applied, passed } = await open(0, leaseFor - 18 * second);
  expect(applied).toEqual([]);
  expect(passed).toMatchObject({ outcome: "failed", failure: { code: "timeout" } });
});
