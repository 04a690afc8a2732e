// The proxies' certificate: a root whose key never leaves KMS, and leaves of 30 days. What to do next is a pure function of
// what there is. Rule: a pin is published before its certificate is shown, one renewal ahead. Each step is one conditional
// write, and a version of the secret is named after the one it follows: runs beside each other, and runs that were killed,
// can't make two of anything.
import type { Digest, Signer } from "./ports.ts";
import type { Secret } from "./secret.ts";
import { anchorsOf, type Trust } from "./trust.ts";

export interface Lifetime {
  readonly notBeforeAt: number;
  readonly expiresAt: number;
}
export interface LeafFacts extends Lifetime {
  readonly pin: string;
  /** DNS names and addresses. */
  readonly names: readonly string[];
}

/** Making and reading certificates (PEM). */
export interface Issuer {
  makeKey(): Promise<Secret>;
  /** `sha256/<base64>` of the public key: of a private key in PEM, or of an SPKI. */
  pinOf(key: Secret | Uint8Array): string;
  /** Self-signed, for signing leaves and nothing below them. */
  makeRoot(signer: Signer, lifetime: Lifetime): Promise<string>;
  /** @throws Failure `internal` when what was made does not verify */
  makeLeaf(of: {
    signer: Signer;
    root: string;
    key: Secret;
    names: readonly string[];
    lifetime: Lifetime;
  }): Promise<string>;
  /** Undefined for what is no certificate. */
  readLeaf(cert: string): LeafFacts | undefined;
  isIssuedBy(cert: string, root: string): boolean;
}

const hour = 3_600_000;
const day = 24 * hour;
/** Between two clocks. */
const skew = hour;
const leafFor = 30 * day;
export const renewBefore = 10 * day;
const rootFor = 3_650 * day;
const rootRenewBefore = 400 * day;
/** From a pin's publication to the first proxy that shows it: longer than any answer with pins is good for. */
export const pinLead = 2 * hour;
/** The same for a root: people keep its file longer than a token. */
export const rootLead = 7 * day;
/** So late that leads no longer count. */
const lastCall = day;

export const leafLifetime = (now: number): Lifetime => ({ notBeforeAt: now - skew, expiresAt: now + leafFor });
export const rootLifetime = (now: number): Lifetime => ({ notBeforeAt: now - skew, expiresAt: now + rootFor });

/** The versions of the secret that follow one: its next key, and the certificate with that key. */
export const followersOf = (digest: Digest, version: string): { readonly key: string; readonly leaf: string } => ({
  key: digest.sha256(`sallyport next key after ${version}`),
  leaf: digest.sha256(`sallyport next leaf after ${version}`),
});

/** A version of the secret that holds a certificate. */
export interface Held extends LeafFacts {
  readonly version: string;
  /** The key of the root that signed it; undefined when none that is published did. */
  readonly root: string | undefined;
}
export interface State {
  /** The pin of the key that signs now. */
  readonly signer: string;
  readonly trust: Trust | undefined;
  /** Undefined: there is no secret. */
  readonly secret?: {
    readonly current: { readonly version: string; readonly leaf: Held | undefined };
    readonly nextKey: { readonly version: string; readonly pin: string } | undefined;
    readonly nextLeaf: Held | undefined;
  };
}

export type Step =
  | {
      readonly do:
        | "publish root"
        | "create secret"
        | "make key"
        | "publish key"
        | "issue"
        | "promote"
        | "tidy"
        | "wait";
    }
  | { readonly do: "publish leaf"; readonly leaf: Held };

type Stocked = State & { readonly trust: Trust; readonly secret: NonNullable<State["secret"]> };

const rootsOf = ({ signer, trust }: State) => trust?.roots.filter(({ key }) => key === signer) ?? [];

/** Why another certificate is wanted, if it is. */
const reasonToRenew = ({ secret, signer }: Stocked, names: readonly string[], now: number): string | undefined => {
  const { leaf } = secret.current;
  if (!leaf) return "there is none";
  if (now >= leaf.expiresAt - renewBefore) return "it expires soon";
  if (leaf.names.length !== names.length || names.some((name) => !leaf.names.includes(name)))
    return "its names changed";
  return leaf.root === signer ? undefined : "its root changed";
};

/** May what is published be shown already? When there is no time left, or nobody can verify what is shown, it must. */
const mayIssue = (state: Stocked, now: number): boolean => {
  const { leaf } = state.secret.current;
  if (leaf?.root === undefined || leaf.expiresAt - now < lastCall) return true;
  if (now - (state.trust.next?.publishedAt ?? now) < pinLead) return false;
  const rootSince = Math.min(...rootsOf(state).map(({ publishedAt }) => publishedAt));
  return leaf.root === state.signer || now - rootSince >= rootLead;
};

/** Without what has expired, and without roots that signed nothing that is shown. */
export const tidied = (trust: Trust, signer: string, now: number): Trust => {
  const leaves = trust.leaves.filter(({ expiresAt }) => expiresAt > now);
  const used = new Set([signer, ...leaves.map(({ root }) => root)]);
  return { ...trust, leaves, roots: trust.roots.filter(({ key, expiresAt }) => expiresAt > now && used.has(key)) };
};

const isTidy = (trust: Trust, signer: string, now: number): boolean => {
  const { leaves, roots } = tidied(trust, signer, now);
  return leaves.length === trust.leaves.length && roots.length === trust.roots.length;
};

/** The one next step. `names` are what the certificate is to be for. */
export const plan = (state: State, names: readonly string[], now: number): Step => {
  const { trust, secret, signer } = state;
  if (!trust || !rootsOf(state).some(({ expiresAt }) => expiresAt - now > rootRenewBefore))
    return { do: "publish root" };
  if (!secret) return { do: "create secret" };
  const stocked: Stocked = { ...state, trust, secret };
  const { current, nextKey, nextLeaf } = secret;
  const isPublished = (leaf: Held): boolean => trust.leaves.some(({ version }) => version === leaf.version);
  // what is shown already comes first: a table that was lost tells nobody of it
  if (current.leaf?.root !== undefined && current.leaf.expiresAt > now && !isPublished(current.leaf))
    return { do: "publish leaf", leaf: current.leaf };
  if (nextLeaf) return isPublished(nextLeaf) ? { do: "promote" } : { do: "publish leaf", leaf: nextLeaf };
  if (!nextKey) return { do: "make key" };
  if (trust.next?.pin !== nextKey.pin) return { do: "publish key" };
  if (reasonToRenew(stocked, names, now) !== undefined && mayIssue(stocked, now)) return { do: "issue" };
  return isTidy(trust, signer, now) ? { do: "wait" } : { do: "tidy" };
};

export interface Certified {
  /** What was done, in order. */
  readonly steps: readonly string[];
  readonly ca: string;
  readonly pins: readonly string[];
  readonly expiresAt: number;
}

export const certified = (state: State, steps: readonly string[], now: number): Certified => ({
  steps,
  ...(state.trust ? anchorsOf(state.trust, now) : { ca: "", pins: [] }),
  expiresAt: state.secret?.current.leaf?.expiresAt ?? 0,
});
