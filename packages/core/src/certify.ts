// Carrying the plan for the proxies' certificate out, step after step until there is nothing to do. Between any two calls it
// may be killed, and another run may be at it too: whoever comes second finds a conflict, looks again and goes on from there.
import * as z from "zod";
import { eventChange } from "./audit.ts";
import {
  type Certified,
  certified,
  followersOf,
  type Held,
  type Issuer,
  leafLifetime,
  plan,
  rootLifetime,
  type State,
  type Step,
  tidied,
} from "./certificate.ts";
import { Failure } from "./failure.ts";
import { keys, toItem } from "./family.ts";
import type { Clock, Digest, Random, Signer, Store, Vault } from "./ports.ts";
import { type Secret, secret } from "./secret.ts";
import { readTrust, type Trust } from "./trust.ts";

export interface Office {
  readonly store: Store;
  readonly vault: Vault;
  readonly signer: Signer;
  readonly issuer: Issuer;
  readonly clock: Clock;
  readonly random: Random;
  readonly digest: Digest;
  /** The name of the secret that the proxies read. */
  readonly secretName: string;
}

/** What a version of the secret holds: a key, and its certificate once there is one. */
const Value = z.object({ key: z.string().min(1), cert: z.string().min(1).optional() });

const mostSteps = 30;

const parseValue = (value: Secret): z.infer<typeof Value> | undefined => {
  try {
    return Value.safeParse(JSON.parse(value.reveal())).data;
  } catch {
    return undefined;
  }
};

/** Everything the plan is made from. A version that can't be read as ours counts as one without a certificate. */
const readState = async (office: Office, signer: string): Promise<State> => {
  const { store, vault, issuer, digest, secretName } = office;
  const [trust, versions] = await Promise.all([readTrust(store), vault.describe(secretName)]);
  if (!versions) return { signer, trust };
  const current = versions.find(({ stages }) => stages.includes("AWSCURRENT"))?.version;
  if (current === undefined)
    throw new Failure("conflict", `the secret ${secretName} has no current version`, {
      hint: "somebody else changed it: remove it, and it is made anew",
    });
  const followers = followersOf(digest, current);
  const [held, nextKey, nextLeaf] = await Promise.all(
    [current, followers.key, followers.leaf].map(async (version) => {
      const found = await vault.read(secretName, { version });
      return found && parseValue(found.value);
    }),
  );
  const heldOf = (version: string, value: typeof held): Held | undefined => {
    const leaf = value?.cert === undefined ? undefined : issuer.readLeaf(value.cert);
    if (!leaf || value?.cert === undefined) return undefined;
    const { cert } = value;
    const root = trust?.roots.find((one) => issuer.isIssuedBy(cert, one.cert))?.key;
    return { ...leaf, version, root };
  };
  const state = {
    current: { version: current, leaf: heldOf(current, held) },
    nextKey: nextKey && { version: followers.key, pin: issuer.pinOf(secret(nextKey.key)) },
    nextLeaf: heldOf(followers.leaf, nextLeaf),
  };
  return { signer, trust, secret: state };
};

const publish = async (office: Office, before: Trust | undefined, step: string, change: Partial<Trust>) => {
  const { store, clock, random } = office;
  const now = clock.now();
  const trust: Trust = { roots: [], leaves: [], ...before, ...change, revision: (before?.revision ?? 0) + 1 };
  const pins = { leaves: trust.leaves.map(({ pin }) => pin), next: trust.next?.pin };
  const details = { step, revision: trust.revision, roots: trust.roots.map(({ key }) => key), ...pins };
  await store.transact([
    {
      put: toItem(keys.trust(), trust),
      if: before ? { equals: { revision: before.revision } } : { absent: true },
    },
    eventChange({ name: "trust.change", at: now, actor: "certify", details }, random),
  ]);
};

const publishRoot = async (office: Office, { trust, signer: key }: State): Promise<void> => {
  const { signer, issuer, clock } = office;
  const now = clock.now();
  const lifetime = rootLifetime(now);
  const cert = await issuer.makeRoot(signer, lifetime);
  const root = { cert, key, publishedAt: now, expiresAt: lifetime.expiresAt };
  await publish(office, trust, "root", { roots: [root, ...(trust?.roots ?? [])] });
};

const issue = async (office: Office, { trust, signer: root, secret: held }: State, names: readonly string[]) => {
  const { signer, issuer, vault, clock, digest, secretName } = office;
  const current = held?.current.version ?? "";
  const version = followersOf(digest, current);
  const value = await vault.read(secretName, { version: version.key });
  const key = value && parseValue(value.value)?.key;
  const authority = trust?.roots.find((one) => one.key === root);
  if (key === undefined || !authority) throw new Failure("conflict", "what the plan was made from has changed");
  const lifetime = leafLifetime(clock.now());
  const cert = await issuer.makeLeaf({ signer, root: authority.cert, key: secret(key), names, lifetime });
  await vault.stage(secretName, version.leaf, secret(JSON.stringify({ cert, key })));
};

const carryOut = async (office: Office, state: State, step: Step, names: readonly string[]): Promise<void> => {
  const { vault, issuer, clock, digest, secretName } = office;
  const { trust, secret: held, signer } = state;
  const current = held?.current.version ?? "";
  const { key: keyVersion, leaf: leafVersion } = followersOf(digest, current);
  switch (step.do) {
    case "publish root":
      return publishRoot(office, state);
    case "create secret":
      return vault.create(secretName);
    case "make key": {
      const key = (await issuer.makeKey()).reveal();
      return vault.stage(secretName, keyVersion, secret(JSON.stringify({ key })));
    }
    case "publish key": {
      const pin = held?.nextKey?.pin ?? "";
      return publish(office, trust, "next", { next: { version: keyVersion, pin, publishedAt: clock.now() } });
    }
    case "issue":
      return issue(office, state, names);
    case "publish leaf": {
      const { version, pin, root = "", expiresAt } = step.leaf;
      const leaves = [{ version, pin, root, expiresAt }, ...(trust?.leaves ?? [])];
      return publish(office, trust, "leaf", { leaves });
    }
    case "promote":
      return vault.promote(secretName, { to: leafVersion, from: current });
    case "tidy":
      return trust && publish(office, trust, "tidy", tidied(trust, signer, clock.now()));
    case "wait":
  }
};

const isConflict = (thrown: unknown): boolean => thrown instanceof Failure && thrown.code === "conflict";

/**
 * Brings root, certificate, next key and what is published in line.
 * @throws Failure `conflict` for a secret that is not ours, `unavailable` when table, vault or key can't be used
 */
export const certify = async (office: Office, names: readonly string[]): Promise<Certified> => {
  const signer = office.issuer.pinOf(await office.signer.publicKey());
  const steps: string[] = [];
  for (let turn = 0; turn < mostSteps; turn++) {
    const state = await readState(office, signer);
    const now = office.clock.now();
    const step = plan(state, names, now);
    if (step.do === "wait") return certified(state, steps, now);
    try {
      await carryOut(office, state, step, names);
      steps.push(step.do);
    } catch (thrown) {
      // another run was faster; one that is not ours to change is found again when the state is read
      if (!isConflict(thrown)) throw thrown;
    }
  }
  throw new Failure("conflict", `the certificate is not in line after ${mostSteps} steps`, {
    hint: "the next run goes on; if it stays so, look who else changes the secret",
  });
};
