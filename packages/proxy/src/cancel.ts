// Cancel requests. Clients get keys of our own making; a request is looked up in this task's memory, and once at each live
// peer. Keys are kept and sent as their HMAC under the deployment's key, so neither memory nor network shows one.
// An unknown key is a silent no-op, never logged; how often anybody may ask is bounded; the table is not read for it.
import { createHmac } from "node:crypto";
import type { Secret } from "@sallyport/core/secret";
import type { CancelKey } from "@sallyport/wire/protocol";
import type { Allowance } from "./allowance.ts";
import { within } from "./deadline.ts";
import { describeError, type Log } from "./log.ts";

/** Carries a cancel out; rejects when the database could not be told. */
export type Cancel = () => Promise<void>;

export interface Cancels {
  /** From now on this key cancels. The function returned ends that. */
  register(key: CancelKey, cancel: Cancel): () => void;
  /** A client's request: here, else at the peers. Resolves when the attempt is over, whatever came of it. Never rejects. */
  request(key: CancelKey, address: string): Promise<void>;
  /** A peer's request, by the name of the key. Never rejects. */
  carryOut(name: string): Promise<boolean>;
}

export interface CancelParts {
  /** The deployment's key, shared by all its proxies. */
  readonly secret: Secret;
  /** How often clients may ask. */
  readonly allowance: Allowance;
  /** Asks every live peer once; resolves when all have done what they could. */
  askPeers(name: string): Promise<void>;
  readonly log: Log;
}

const patience = 10_000;

export const openCancels = (parts: CancelParts): Cancels => {
  const known = new Map<string, Cancel>();
  const nameOf = ({ protocol, key }: CancelKey): string =>
    createHmac("sha256", parts.secret.reveal()).update(`cancel\0${protocol}\0${key}`).digest("base64url");

  const carryOut = async (name: string): Promise<boolean> => {
    const cancel = known.get(name);
    if (!cancel) return false;
    try {
      await within(patience, "the cancel", cancel());
    } catch (thrown) {
      parts.log.warn("a cancel could not be carried out", describeError(thrown));
    }
    return true;
  };

  return {
    register: (key, cancel) => {
      const name = nameOf(key);
      known.set(name, cancel);
      return () => {
        // the same key may be another session's by now
        if (known.get(name) === cancel) known.delete(name);
      };
    },
    request: async (key, address) => {
      if (!parts.allowance.take(address)) return;
      const name = nameOf(key);
      if (await carryOut(name)) return;
      try {
        await parts.askPeers(name);
      } catch (thrown) {
        parts.log.warn("peers could not be asked to cancel", describeError(thrown));
      }
    },
    carryOut,
  };
};
