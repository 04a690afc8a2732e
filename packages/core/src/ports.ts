// What the rules need of the world. Adapters live in packages/aws and, for tests, in test/fakes; every adapter of
// a port passes the port's contract suite in test/contract.
import type { Statement } from "./audit.ts";
import type { Secret } from "./secret.ts";

/** Milliseconds since the epoch. */
export interface Clock {
  now(): number;
}

export interface Random {
  bytes(count: number): Uint8Array;
}

export interface Digest {
  /** SHA-256 as 64 lower-case hex digits. */
  sha256(text: string): string;
}

export interface Key {
  readonly pk: string;
  readonly sk: string;
}
export type Item = Key & { readonly v: number } & Readonly<Record<string, unknown>>;

/** All parts must hold. `absent`: no such item. `equals`: the item is there with these scalars. `below`: each counter, taken as 0 when missing, is below its number. */
export interface Condition {
  readonly absent?: true;
  readonly present?: true;
  readonly equals?: Readonly<Record<string, string | number | boolean>>;
  readonly below?: Readonly<Record<string, number>>;
}

/** One conditional write. `update` creates the item when it is missing (with the current `v`), unless `if` says otherwise. */
export type Change =
  | { readonly put: Item; readonly if?: Condition }
  | {
      readonly update: Key;
      readonly set?: Readonly<Record<string, unknown>>;
      readonly add?: Readonly<Record<string, number>>;
      readonly if?: Condition;
    }
  | { readonly remove: Key; readonly if?: Condition };

export interface Page {
  readonly items: readonly Item[];
  /** Pass as `after` for the next page; absent at the end. */
  readonly after?: string;
}

/** The table. Every read is strongly consistent. A condition that does not hold is Failure `conflict`; a table that can't be reached is Failure `unavailable`. */
export interface Store {
  get(key: Key): Promise<Item | undefined>;
  /** At most 100 keys; answers in their order. */
  getMany(keys: readonly Key[]): Promise<readonly (Item | undefined)[]>;
  /** The items of one partition in ascending order of `sk`. */
  list(pk: string, page?: { prefix?: string; after?: string; limit?: number }): Promise<Page>;
  /** One change; answers the item as it now is (undefined after a remove). */
  write(change: Change): Promise<Item | undefined>;
  /** Two to 100 changes, all or none. */
  transact(changes: readonly Change[]): Promise<void>;
}

/** A secret's version as the vault sees it. Stages are Secrets Manager's: AWSCURRENT, AWSPREVIOUS, AWSPENDING. */
export interface VaultVersion {
  readonly version: string;
  readonly stages: readonly string[];
}

/** Secrets with staged versions (Secrets Manager). Never touches a secret that it did not make: Failure `conflict`. */
export interface Vault {
  /** Makes the secret with a sentinel first version, which read() answers as absent; restores it when it is in its recovery window. */
  create(name: string): Promise<void>;
  /** The versions there are, or undefined when there is no such secret. */
  describe(name: string): Promise<readonly VaultVersion[] | undefined>;
  /** The value at a stage or of a version; undefined when absent or the sentinel. */
  read(
    name: string,
    which: { stage: string } | { version: string },
  ): Promise<(VaultVersion & { value: Secret }) | undefined>;
  /** Puts a version as AWSPENDING. The same version with the same value is no error; with another value it is `conflict`. */
  stage(name: string, version: string, value: Secret): Promise<void>;
  /** Moves AWSCURRENT from one version to another, compare-and-swap (`conflict` if `from` is not current), and takes AWSPENDING off. */
  promote(name: string, move: { to: string; from: string }): Promise<void>;
  /** Deletes with a recovery window of 7 to 30 days; no error when it is gone already. */
  remove(name: string, days: number): Promise<void>;
}

/** A P-256 signing key that never leaves its keeper (KMS). A key that can't be used is Failure `unavailable`. */
export interface Signer {
  /** Which key: an id or alias. */
  readonly key: string;
  /** The public half, SPKI in DER. */
  publicKey(): Promise<Uint8Array>;
  /** ECDSA with SHA-256 over a message of any size; the signature in DER. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** How far a session's records go: the last one's number, and the hash that they all went into (chain.ts). */
export interface Head {
  readonly seq: number;
  readonly head: string;
}

/**
 * What may still be lost of what was taken in. `spooled`: nothing when the process is killed. `durable`: nothing, it is where the
 * audit is kept.
 */
export type Grade = "spooled" | "durable";

/** Where the audit goes. `accepted` means worded, numbered and chained: it will be spooled unless the process is killed within 100 ms. */
export interface AuditSink {
  append(session: string, at: number, statement: Statement): "accepted" | "full";
  /** Resolves when everything appended before the call is that safe, `durable` when nothing is said; rejects when it can't be made so. */
  settled(grade?: Grade): Promise<void>;
  /** How full the spool is, 0 to 1. New sessions are refused from 0.8. */
  fill(): number;
  /** Since when, in milliseconds of the wall clock, something waits that is not yet where the audit is kept; undefined when nothing does. */
  waitingSince?(): number | undefined;
  /** The session's records up to now; undefined before the first. */
  head(session: string): Head | undefined;
  /** The same, and forgets the session. */
  seal(session: string): Head | undefined;
  close(): Promise<void>;
}

/** Where closed segments of the audit are kept for good: put, and never read, changed or deleted by who puts them. */
export interface Segments {
  /** Keeps these bytes; the same put done again is no error. @throws Failure `unavailable` */
  put(name: string, bytes: Uint8Array): Promise<void>;
}
