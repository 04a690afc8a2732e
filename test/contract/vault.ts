// What every Vault must do. `plant` makes a secret that is not ours, by whatever means the adapter's world has.
import { randomUUID } from "node:crypto";
import type { Vault } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";
import { beforeEach, describe, expect, it } from "vitest";
import { codeOf } from "./store.ts";

export interface VaultWorld {
  readonly vault: Vault;
  plant(name: string, value: string): Promise<void>;
}

export const describeVault = (name: string, open: () => VaultWorld): void => {
  describe(`${name} as a Vault`, () => {
    let vault: Vault;
    let at: string;
    beforeEach(() => {
      vault = open().vault;
      at = `sallyport/test/${randomUUID()}/password`;
    });
    const stagesOf = async (version: string) =>
      (await vault.describe(at))?.find((found) => found.version === version)?.stages;
    const currentOf = async () =>
      (await vault.describe(at))?.find(({ stages }) => stages.includes("AWSCURRENT"))?.version ?? "";
    /** A secret with one promoted version. */
    const promoted = async (value: string): Promise<string> => {
      const version = randomUUID();
      await vault.stage(at, version, secret(value));
      await vault.promote(at, { to: version, from: await currentOf() });
      return version;
    };

    it("a new secret has a first version, which reads as absent", async () => {
      expect(await vault.describe(at)).toBeUndefined();
      await vault.create(at);
      expect((await vault.describe(at))?.map(({ stages }) => stages)).toEqual([["AWSCURRENT"]]);
      expect(await vault.read(at, { stage: "AWSCURRENT" })).toBeUndefined();
      expect(await vault.read(at, { version: await currentOf() })).toBeUndefined();
    });

    it("creating it again changes nothing", async () => {
      await vault.create(at);
      const version = await promoted("one");
      await vault.create(at);
      expect((await vault.read(at, { stage: "AWSCURRENT" }))?.version).toBe(version);
    });

    it("a staged version is pending, beside the current one", async () => {
      await vault.create(at);
      const first = await currentOf();
      const version = randomUUID();
      await vault.stage(at, version, secret("one"));
      expect(await stagesOf(version)).toEqual(["AWSPENDING"]);
      expect(await currentOf()).toBe(first);
      const read = await vault.read(at, { stage: "AWSPENDING" });
      expect([read?.version, read?.value.reveal(), read?.stages]).toEqual([version, "one", ["AWSPENDING"]]);
      expect((await vault.read(at, { version }))?.value.reveal()).toBe("one");
    });

    it("a value read is a secret: it prints as none", async () => {
      await vault.create(at);
      await promoted("canary");
      expect(JSON.stringify(await vault.read(at, { stage: "AWSCURRENT" }))).not.toContain("canary");
    });

    it("staging the same again is no error; the same version with another value is", async () => {
      await vault.create(at);
      const version = randomUUID();
      await vault.stage(at, version, secret("one"));
      await vault.stage(at, version, secret("one"));
      expect(await codeOf(vault.stage(at, version, secret("two")))).toBe("conflict");
      expect((await vault.read(at, { version }))?.value.reveal()).toBe("one");
    });

    it("a second staged version takes the pending stage over", async () => {
      await vault.create(at);
      const [first, second] = [randomUUID(), randomUUID()];
      await vault.stage(at, first, secret("one"));
      await vault.stage(at, second, secret("two"));
      expect(await stagesOf(first)).toBeUndefined();
      expect(await stagesOf(second)).toEqual(["AWSPENDING"]);
      expect((await vault.read(at, { version: first }))?.value.reveal()).toBe("one");
    });

    it("a promotion moves the current stage, keeps the one before and takes pending off", async () => {
      await vault.create(at);
      const first = await promoted("one");
      const second = await promoted("two");
      expect(await stagesOf(second)).toEqual(["AWSCURRENT"]);
      expect(await stagesOf(first)).toEqual(["AWSPREVIOUS"]);
      expect((await vault.read(at, { stage: "AWSPREVIOUS" }))?.value.reveal()).toBe("one");
      expect(await vault.read(at, { stage: "AWSPENDING" })).toBeUndefined();
    });

    it("a promotion happens once: again it changes nothing", async () => {
      await vault.create(at);
      const first = await promoted("one");
      const second = await promoted("two");
      await vault.promote(at, { to: second, from: first });
      expect(await stagesOf(second)).toEqual(["AWSCURRENT"]);
      expect(await stagesOf(first)).toEqual(["AWSPREVIOUS"]);
    });

    it("a promotion from what is no longer current, or to what was never staged, is a conflict", async () => {
      await vault.create(at);
      const sentinel = await currentOf();
      const first = await promoted("one");
      const late = randomUUID();
      await vault.stage(at, late, secret("late"));
      expect(await codeOf(vault.promote(at, { to: late, from: sentinel }))).toBe("conflict");
      expect(await codeOf(vault.promote(at, { to: randomUUID(), from: first }))).toBe("conflict");
      expect(await currentOf()).toBe(first);
    });

    it("a removed secret is absent, removing it again is no error, and creating it restores what it held", async () => {
      await vault.create(at);
      const version = await promoted("one");
      await vault.remove(at, 7);
      expect(await vault.describe(at)).toBeUndefined();
      expect(await vault.read(at, { stage: "AWSCURRENT" })).toBeUndefined();
      await vault.remove(at, 7);
      await vault.create(at);
      expect((await vault.read(at, { stage: "AWSCURRENT" }))?.version).toBe(version);
    });

    it("what is not there can be removed, and neither staged nor promoted", async () => {
      await vault.remove(at, 7);
      expect(await vault.read(at, { stage: "AWSCURRENT" })).toBeUndefined();
      expect(await codeOf(vault.stage(at, randomUUID(), secret("x")))).toBe("not_found");
      expect(await codeOf(vault.promote(at, { to: randomUUID(), from: randomUUID() }))).toBe("not_found");
    });

    it("a secret made by somebody else is never touched", async () => {
      const world = open();
      await world.plant(at, "theirs");
      const calls = [
        () => world.vault.create(at),
        () => world.vault.describe(at),
        () => world.vault.stage(at, randomUUID(), secret("x")),
        () => world.vault.promote(at, { to: randomUUID(), from: randomUUID() }),
        () => world.vault.remove(at, 7),
      ];
      for (const call of calls) expect(await codeOf(call())).toBe("conflict");
      expect((await world.vault.read(at, { stage: "AWSCURRENT" }))?.value.reveal()).toBe("theirs");
    });
  });
};
