// What a kind of AWS database must be able to do: be found and be logged in to. One file per kind in packages/aws/kinds.
// A kind says what AWS says; which of it becomes a Database, and its name and labels, is made from that in core, alike for all.
import type { Credential } from "./credential.ts";
import type { Assumed, Database, Endpoint, KindName, Workgroup } from "./database.ts";
import type { Labels } from "./label.ts";
import type { ManagedRef, ManagedService } from "./managed.ts";
import type { Secret } from "./secret.ts";

/** Where a listing looks: one region, as ourselves or through an assumed role. Everything there is listed, whatever its tags. */
export interface Listing {
  readonly region: string;
  readonly assume?: Assumed;
}

/** One endpoint of one AWS object, as AWS tells of it. */
export interface Sighting
  extends Pick<
    Database,
    "protocol" | "arn" | "partition" | "account" | "region" | "identifier" | "resourceId" | "status"
  > {
  readonly engine: string;
  readonly engineVersion: string;
  /** `instance`, `primary`, `reader`, …: tells the endpoints of one object apart. */
  readonly endpointType: string;
  /** What an endpoint beside the main one adds to the name: `reader`. */
  readonly suffix?: string;
  /** AWS's own word for its state, lower-case. */
  readonly state: string;
  /** Why it is not available and what mends it. */
  readonly reason?: string;
  readonly tags: Labels;
  /** AWS does not tell its tags in the state that it is in: the last known ones stay, and without any it is left out. */
  readonly withheld?: true;
  readonly vpcId?: string;
  /** Absent while AWS gives none, or one that is not the service's: then the last one known stays. */
  readonly endpoint?: Endpoint;
  readonly signFor?: NonNullable<Database["signFor"]>;
  /** The cluster it is an endpoint of. */
  readonly cluster?: string;
  readonly workgroup?: Workgroup;
  /** Nothing but its switch for IAM authentication is in the way, and it can be switched on now. */
  readonly iamOff?: true;
}

/** One page of a listing. Warnings are for the run's record: a tag list that may not be read, an unknown status. */
export interface Found {
  readonly sightings: readonly Sighting[];
  readonly warnings: readonly string[];
  /** Nobody was there to ask (a region without the service): no error, but nothing may be removed after it. */
  readonly incomplete?: true;
}

/** A database user that is tagged to be managed and logs in by password, as AWS tells of it. */
export interface ManagedSighting {
  readonly service: ManagedService;
  readonly arn: string;
  readonly partition: string;
  readonly account: string;
  readonly region: string;
  readonly id: string;
  /** The name it logs in by. */
  readonly user: string;
  /** The caches and clusters that let it in, and the endpoints by which AWS says their nodes are reached; a cluster names the rest itself. */
  readonly caches: readonly { readonly arn: string; readonly endpoints: readonly Endpoint[] }[];
  /** Whether it is tagged is not told while it is being changed: one that is managed stays so, and no other begins to be. */
  readonly withheld?: true;
}
/** One page of them, as `Found` is of databases. */
export interface FoundUsers {
  readonly users: readonly ManagedSighting[];
  readonly warnings: readonly string[];
  readonly incomplete?: true;
}
/** `active`: it can be changed, and every node is told. `iam`: it no longer logs in by password. `gone`: there is none. */
export type UserState = "active" | "modifying" | "iam" | "gone";

/** Who a credential is for: the session name in another account's CloudTrail. */
export interface Person {
  readonly user: string;
}

export interface Kind {
  readonly name: KindName;
  /** Pages to the end. A throw means that the listing is not complete: nothing may be removed after it. @throws Failure */
  discover(listing: Listing): AsyncIterable<Found>;
  /** What logs in as this database user now, to the database of this name. @throws Failure `denied` or `unavailable` with the policy to add */
  credential(database: Database, user: string, person: Person, name?: string): Promise<Credential>;
  /** Drops what is kept in people's names: somebody's access has changed. */
  forget?(): void;
  /** Switches IAM authentication on where a sighting said `iamOff`. @throws Failure `denied` with the policy to add, `unavailable` */
  enable?(listing: Listing, sighting: Sighting): Promise<void>;
  /** The users to be managed, to the end, as `discover` lists databases. @throws Failure */
  managedUsers?(listing: Listing): AsyncIterable<FoundUsers>;
  /** How a managed user stands now. @throws Failure */
  userState?(user: ManagedRef): Promise<UserState>;
  /**
   * Gives the user these passwords, one or two, and no other: the whole list is replaced. It is accepted when this resolves, and done
   * when the user is `active` again. @throws Failure `conflict` while it can't be changed, `not_found`, `denied` with the policy to add,
   * `too_many` when throttled, `unavailable`
   */
  apply?(user: ManagedRef, passwords: readonly Secret[]): Promise<void>;
}
export type Kinds = Readonly<Record<KindName, Kind>>;
