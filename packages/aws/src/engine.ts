// Which database engines the RDS kinds know, which protocol each speaks, and from which version on it takes IAM tokens.
// An engine that is not here is somebody else's: it is passed over, and never asked for by name, because naming one that a
// region does not know fails the whole listing.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
import type { ProtocolName } from "@sallyport/core/database";

interface Engine {
  readonly protocol: ProtocolName;
  /** Its users are IAM roles: there is no switch for IAM authentication. */
  readonly roles?: true;
  /** The service in the names of its hosts; RDS unless told. */
  readonly service?: string;
  /** The first version with IAM authentication, where a supported one is without. */
  readonly since?: readonly [major: number, minor: number];
}
type Engines = ReadonlyMap<string, Engine>;

/** RDS instances that are not members of a cluster. */
export const instanceEngines: Engines = new Map<string, Engine>([
  ["postgres", { protocol: "postgres" }],
  ["mysql", { protocol: "mysql" }],
  ["mariadb", { protocol: "mysql", since: [10, 6] }],
]);

/** RDS Multi-AZ DB clusters. */
export const multiAzEngines: Engines = new Map<string, Engine>([
  ["postgres", { protocol: "postgres" }],
  ["mysql", { protocol: "mysql" }],
]);

export const auroraEngines: Engines = new Map<string, Engine>([
  ["aurora-postgresql", { protocol: "postgres" }],
  ["aurora-mysql", { protocol: "mysql" }],
]);

export const documentEngines: Engines = new Map<string, Engine>([
  ["docdb", { protocol: "mongodb", since: [5, 0], roles: true, service: "docdb" }],
]);

/** Why this version can't be logged in to by IAM; undefined when it can, or when the version says nothing. */
export const tooOld = (name: string, { since }: Engine, version: string): string | undefined => {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (!since || major === undefined || minor === undefined) return undefined;
  const [first, second] = since;
  if (Number(major) > first || (Number(major) === first && Number(minor) >= second)) return undefined;
  return `${name} ${version} has no IAM authentication: upgrade it to ${first}.${second} or later`;
};
