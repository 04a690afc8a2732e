// What a kind of AWS database must be able to do: be found and be logged in to. One file per kind in packages/aws/kinds.

import type { Credential } from "./credential.ts";
import type { Assumed, Database, KindName } from "./database.ts";
import type { LabelSelector } from "./label.ts";

/** Where a listing looks: one region, as ourselves or through an assumed role, for objects whose tags match one of the selectors. */
export interface Listing {
  readonly region: string;
  readonly assume?: Assumed;
  readonly tags: readonly LabelSelector[];
}

/** One page of a listing. Warnings are for the run's record: a tag list that may not be read, an unknown status. */
export interface Found {
  readonly databases: readonly Omit<Database, "foundBy" | "origin" | "network">[];
  readonly warnings: readonly string[];
}

/** Who a credential is for: the session name in another account's CloudTrail. */
export interface Person {
  readonly user: string;
}

export interface Kind {
  readonly name: KindName;
  /** Pages to the end. A throw means that the listing is not complete: nothing may be removed after it. @throws Failure */
  discover(listing: Listing): AsyncIterable<Found>;
  /** What logs in as this database user now. @throws Failure `denied` or `unavailable` with the policy to add */
  credential(database: Database, user: string, person: Person): Promise<Credential>;
}
export type Kinds = Readonly<Record<KindName, Kind>>;
