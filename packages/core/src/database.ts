// A database endpoint as discovery found it, and the facts per kind and per protocol that everything else reads from here.
// A new protocol or kind is one name in these unions: the compiler then fails in each registry and nowhere else.
import * as z from "zod";
import { Name } from "./name.ts";

export const protocolNames = ["postgres", "mysql", "mongodb", "redis"] as const;
export type ProtocolName = (typeof protocolNames)[number];

/** What the project needs to know of a protocol without speaking it. */
export interface ProtocolFacts {
  /** The plain port's default number. */
  readonly port: number;
  /** Does a connection name a database, so that a role's `db_names` is consulted? */
  readonly checksName: boolean;
  /** Is it named by each command instead of at the login? */
  readonly namesLater?: boolean;
  /** Does a server name others that are a part of it, which may then be dialled? */
  readonly namesNodes?: boolean;
  /** The clients that `sally db connect` looks for, first found wins. */
  readonly programs: readonly string[];
  /** The scheme of a connection URL. */
  readonly scheme: string;
}

export const protocols = {
  postgres: { port: 5432, checksName: true, programs: ["psql"], scheme: "postgresql" },
  mysql: { port: 3306, checksName: false, programs: ["mariadb", "mysql"], scheme: "mysql" },
  mongodb: { port: 27017, checksName: true, namesLater: true, programs: ["mongosh"], scheme: "mongodb" },
  redis: { port: 6379, checksName: false, namesNodes: true, programs: ["redis-cli"], scheme: "rediss" },
} as const satisfies Record<ProtocolName, ProtocolFacts>;

export const kindNames = [
  ...(["rds", "aurora", "redshift-serverless", "documentdb"] as const),
  ...(["elasticache", "elasticache-serverless", "memorydb"] as const),
] as const;
export type KindName = (typeof kindNames)[number];

/** What the project needs to know of a kind without calling AWS. */
export interface KindFacts {
  /** The matcher type that asks for it in a discovery_config. */
  readonly matcher: string;
  /** Does a database user of this kind stand for an IAM role? */
  readonly userIsRole: boolean;
  /** Domain suffixes (before the partition's) that its endpoints must end in. */
  readonly service: string;
  /** The database name that is meant where none is given and any may be; a user that is a role has none of its own. */
  readonly usualName?: string;
}

export const kinds = {
  rds: { matcher: "rds", userIsRole: false, service: "rds" },
  aurora: { matcher: "rds", userIsRole: false, service: "rds" },
  "redshift-serverless": {
    matcher: "redshift-serverless",
    userIsRole: true,
    service: "redshift-serverless",
    usualName: "dev",
  },
  documentdb: { matcher: "docdb", userIsRole: true, service: "docdb", usualName: "test" },
  elasticache: { matcher: "elasticache", userIsRole: false, service: "cache" },
  "elasticache-serverless": { matcher: "elasticache-serverless", userIsRole: false, service: "cache" },
  memorydb: { matcher: "memorydb", userIsRole: false, service: "memorydb" },
} as const satisfies Record<KindName, KindFacts>;

/** Where and how to reach it; read from AWS, never from a tag or a file. */
export const Endpoint = z.object({
  host: z.string().min(1).max(255),
  port: z.number().int().min(1).max(65535),
  /** The name its certificate must carry; most often the host. */
  verifyName: z.string().min(1).max(255),
  /** Which set of certificate authorities: the RDS bundle or Amazon's own. */
  roots: z.enum(["rds", "amazon"]),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** The workgroup of Redshift Serverless that an endpoint belongs to. */
export const Workgroup = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  /** Named instead of the workgroup where one asks for its credentials. */
  customDomain: z.string().optional(),
});
export type Workgroup = z.infer<typeof Workgroup>;

/** The role hop used to reach another account, and its external id. */
export const Assumed = z.object({ roleArn: z.string(), externalId: z.string().optional() });
export type Assumed = z.infer<typeof Assumed>;

export const Database = z.object({
  name: Name,
  kind: z.enum(kindNames),
  protocol: z.enum(protocolNames),
  description: z.string().max(500).default(""),
  endpoint: Endpoint,
  /** Tags and derived labels; a tag never overwrites a derived one. */
  labels: z.record(z.string(), z.string()),
  /** `available`: can be connected to. `unavailable`: not now. `unsupported`: not until something is changed. */
  status: z.enum(["available", "unavailable", "unsupported"]),
  /** Why it is not available and what mends it, or a warning about one that is. */
  reason: z.string().optional(),
  arn: z.string(),
  partition: z.string(),
  account: z.string(),
  region: z.string(),
  /** What AWS calls it: instance or cluster identifier. */
  identifier: z.string(),
  /** `db-…` or `cluster-…`: what an rds-db:connect resource names. */
  resourceId: z.string(),
  /** The host and port that an IAM token is signed for, when it is not the endpoint's own. */
  signFor: z.object({ host: z.string(), port: z.number() }).optional(),
  vpcId: z.string().optional(),
  /** The network whose proxies reach it. */
  network: z.string(),
  assume: Assumed.optional(),
  /** Shown to the user's own role where no role is assumed before it. */
  externalId: z.string().optional(),
  workgroup: Workgroup.optional(),
  origin: z.enum(["cloud", "config", "dynamic"]),
  /** The discovery listing that found it (account, region, listing): only that one may remove it. */
  foundBy: z.string(),
});
export type Database = z.infer<typeof Database>;
