// What rotation relies on of a kind that has managed users, whether AWS is a fake, an emulation or the real one.
import type { Kind } from "@sallyport/core/kind";
import type { ManagedRef } from "@sallyport/core/managed";
import { secret } from "@sallyport/core/secret";
import { beforeEach, describe, expect, it } from "vitest";
import { codeOf } from "./store.ts";

export interface ManagedKindWorld {
  readonly kind: Required<Pick<Kind, "userState" | "apply">>;
  /** A user that is there, active, with a password of its own. */
  readonly user: ManagedRef;
  /** Lets the time pass that a change takes. */
  settle(): Promise<void>;
  /** What it logs in with now. */
  passwords(): readonly string[];
  remove(): void;
  switchToIam(): void;
}

const [one, two, three] = ["1", "2", "3"].map((digit) => digit.repeat(128));
const secrets = (...values: readonly (string | undefined)[]) => values.map((value = "") => secret(value));

export const describeManagedKind = (name: string, open: () => Promise<ManagedKindWorld>): void => {
  describe(`${name} as a kind with managed users`, () => {
    let world: ManagedKindWorld;
    beforeEach(async () => {
      world = await open();
    });
    const state = () => world.kind.userState(world.user);
    const apply = (...values: readonly (string | undefined)[]) => world.kind.apply(world.user, secrets(...values));

    it("a change takes time, is refused meanwhile, and is done when the user is active again", async () => {
      expect(await state()).toBe("active");
      await apply(one);
      expect(await state()).toBe("modifying");
      expect(await codeOf(apply(two))).toBe("conflict");
      await world.settle();
      expect(await state()).toBe("active");
      expect(world.passwords()).toEqual([one]);
    });

    it("the whole list is replaced, by two at most", async () => {
      await apply(one, two);
      await world.settle();
      expect(world.passwords()).toEqual([one, two]);
      await apply(two, three);
      await world.settle();
      expect(world.passwords()).toEqual([two, three]);
      expect(await codeOf(apply(one, two, three))).toMatch(/invalid|unavailable/);
      expect(world.passwords()).toEqual([two, three]);
    });

    it("the same passwords again are no error", async () => {
      await apply(one, two);
      await world.settle();
      await apply(one, two);
      await world.settle();
      expect([await state(), world.passwords()]).toEqual(["active", [one, two]]);
    });

    it("a password that AWS would not take is refused, and nothing is changed", async () => {
      const before = world.passwords();
      expect(await codeOf(apply("short"))).toMatch(/invalid|unavailable/);
      expect([await state(), world.passwords()]).toEqual(["active", before]);
    });

    it("a user that is gone, or logs in by IAM, is said to be so", async () => {
      world.switchToIam();
      await world.settle();
      expect(await state()).toBe("iam");
      world.remove();
      expect(await state()).toBe("gone");
      expect(await codeOf(apply(one))).toMatch(/not_found|conflict|denied/);
    });
  });
};
