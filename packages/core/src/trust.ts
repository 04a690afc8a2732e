// What clients are told to trust: the root certificates and the pins of leaves, as `certify` publishes them in the table. Only
// certify writes them, only the API reads them. A pin is there before any proxy shows its certificate, and stays until that
// certificate has expired.
import * as z from "zod";
import { Failure } from "./failure.ts";
import { keys, read } from "./family.ts";
import type { Network, Networks } from "./network.ts";
import type { Store } from "./ports.ts";

/** `key` is the pin of the root's own public key: a root made again with the same key is the same authority. */
const Root = z.object({ cert: z.string(), key: z.string(), publishedAt: z.number(), expiresAt: z.number() });
/** `version`: of the secret. `root`: the key that signed it. */
const Leaf = z.object({ version: z.string(), pin: z.string(), root: z.string(), expiresAt: z.number() });
/** The key of the certificate after this one, which nothing shows yet. */
const Next = z.object({ version: z.string(), pin: z.string(), publishedAt: z.number() });

export const Trust = z.object({
  revision: z.number(),
  roots: z.array(Root),
  leaves: z.array(Leaf),
  next: Next.optional(),
});
export type Trust = z.infer<typeof Trust>;

export const readTrust = (store: Store): Promise<Trust | undefined> => read(store, Trust, keys.trust());

/** What a client verifies with: PEM, absent where the system's roots will do, and `sha256/<base64>` of each SPKI. */
export interface Anchors {
  readonly ca?: string;
  readonly pins: readonly string[];
}

export const anchorsOf = (trust: Trust, now: number): Anchors & { readonly ca: string } => ({
  ca: trust.roots
    .filter(({ expiresAt }) => expiresAt > now)
    .map(({ cert }) => `${cert.trim()}\n`)
    .join(""),
  pins: [
    ...new Set([
      ...trust.leaves.filter(({ expiresAt }) => expiresAt > now).map(({ pin }) => pin),
      ...(trust.next ? [trust.next.pin] : []),
    ]),
  ],
});

/** A network shows a certificate of its owner's when its settings name the pins; else the one that certify issues. */
export const isIssued = ({ gate }: Network): boolean => gate.pins === undefined;

/** The hosts that the issued certificate is for. */
export const issuedHosts = (networks: Networks): readonly string[] => [
  ...new Set(
    Object.values(networks)
      .filter(isIssued)
      .flatMap(({ gate, direct }) => [gate.host, ...(direct ? [direct.host] : [])]),
  ),
];

/** What vouches for a network's proxies. @throws Failure `unavailable` when no certificate has been issued yet */
export const anchorsFor = async (store: Store, network: Network, now: number): Promise<Anchors> => {
  const { pins, ca } = network.gate;
  if (pins) return ca === undefined ? { pins } : { ca, pins };
  const trust = await readTrust(store);
  const anchors = trust && anchorsOf(trust, now);
  if (!anchors || anchors.ca === "" || anchors.pins.length === 0)
    throw new Failure("unavailable", "no certificate has been issued for the proxies yet", {
      hint: "look at the log of the certify function, or invoke it",
    });
  return anchors;
};

/** Over all networks: every authority that is not a public one, and every pin. */
export const allAnchors = async (store: Store, networks: Networks, now: number): Promise<Anchors> => {
  const each: Anchors[] = [];
  for (const network of Object.values(networks)) each.push(await anchorsFor(store, network, now));
  const ca = [...new Set(each.flatMap((one) => one.ca ?? []))].join("");
  return { ...(ca === "" ? {} : { ca }), pins: [...new Set(each.flatMap(({ pins }) => pins))] };
};
