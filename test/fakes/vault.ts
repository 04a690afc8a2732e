// The Vault port in memory: versions, stages that move, recovery windows.
import { Failure } from "@sallyport/core/failure";
import type { Vault, VaultVersion } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";

interface Stored {
  readonly versions: Map<string, string>;
  readonly stages: Map<string, string>;
  ours: boolean;
  removed: boolean;
}
export interface FakeVault extends Vault {
  /** A secret that somebody else made. */
  plant(name: string, value: string): Promise<void>;
}

const [current, previous, pending] = ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"] as const;
const sentinel = "";

export const openFakeVault = (): FakeVault => {
  const secrets = new Map<string, Stored>();
  let made = 0;

  const find = (name: string): Stored | undefined => {
    const found = secrets.get(name);
    if (!found || found.removed) return undefined;
    if (!found.ours) throw new Failure("conflict", `the secret ${name} was not made by this deployment`);
    return found;
  };
  const need = (name: string): Stored => {
    const found = find(name);
    if (!found) throw new Failure("not_found", `there is no secret ${name}`);
    return found;
  };
  const stagesOf = (stored: Stored, version: string): readonly string[] =>
    [...stored.stages].flatMap(([stage, holder]) => (holder === version ? [stage] : [])).sort();
  const add = (name: string, value: string, ours: boolean): void => {
    const version = `first-${++made}`;
    secrets.set(name, {
      versions: new Map([[version, value]]),
      stages: new Map([[current, version]]),
      ours,
      removed: false,
    });
  };

  return {
    plant: async (name, value) => add(name, value, false),
    async create(name) {
      const stored = secrets.get(name);
      if (stored && !stored.ours) find(name);
      if (stored) stored.removed = false;
      else add(name, sentinel, true);
    },
    async describe(name) {
      const stored = find(name);
      const labelled = new Set(stored?.stages.values());
      return stored && [...labelled].map((version): VaultVersion => ({ version, stages: stagesOf(stored, version) }));
    },
    async read(name, which) {
      const stored = secrets.get(name);
      if (!stored || stored.removed) return undefined;
      const version = "stage" in which ? stored.stages.get(which.stage) : which.version;
      const value = version === undefined ? undefined : stored.versions.get(version);
      if (version === undefined || value === undefined || value === sentinel) return undefined;
      return { version, stages: stagesOf(stored, version), value: secret(value) };
    },
    async stage(name, version, value) {
      const stored = need(name);
      const known = stored.versions.get(version);
      if (known !== undefined && known !== value.reveal())
        throw new Failure("conflict", `version ${version} of ${name} has another value`);
      if (known !== undefined) return;
      stored.versions.set(version, value.reveal());
      stored.stages.set(pending, version);
    },
    async promote(name, { to, from }) {
      const stored = need(name);
      if (stagesOf(stored, to).length === 0) throw new Failure("conflict", `${name} has no version ${to}`);
      if (stored.stages.get(current) !== to) {
        if (stored.stages.get(current) !== from) throw new Failure("conflict", `${from} is not the current version`);
        stored.stages.set(current, to).set(previous, from);
      }
      if (stored.stages.get(pending) === to) stored.stages.delete(pending);
    },
    async remove(name) {
      const stored = find(name);
      if (stored) stored.removed = true;
    },
  };
};
