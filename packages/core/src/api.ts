// The HTTP contract: every route with its method, path, input, output and who may call it. Functions serve it, the client is
// typed by it, the documentation is made from it. Input is strict: an unknown member is refused.
import * as z from "zod";
import { Database, kindNames, protocolNames } from "./database.ts";
import { DiscoveryConfigSpec } from "./discovery.ts";
import { LockTarget } from "./lock.ts";
import { managedServices, managedStates } from "./managed.ts";
import { Name, Region, WireName } from "./name.ts";
import { RoleVersion } from "./role.ts";
import { Traits, User } from "./user.ts";

export const Password = z.string().min(12, "a password has at least 12 characters").max(256);
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Milliseconds = z.number().int().positive();
const empty = z.strictObject({});

/** Where to go for a database, and whether it is there. `ca` is PEM; absent means the system's roots. `pins` are `sha256/<base64>` of the SPKI. */
export const ConnectAnswer = z.object({
  state: z.enum(["ready", "starting"]),
  /** Seconds until it is worth asking again, while starting. */
  retryAfter: z.number().optional(),
  gate: z.object({ host: z.string(), port: z.number(), pins: z.array(z.string()), ca: z.string().optional() }),
  /** The plain port; absent where it is not offered. */
  direct: z.object({ host: z.string(), port: z.number(), ca: z.string().optional() }).optional(),
  network: z.string(),
  /** The secret itself: this answer is the only place it is ever shown. */
  token: z.string(),
  /** Names the token in listings and for revoking. */
  id: Sha256,
  expiresAt: z.number(),
  /** For a bearer: how many logins. */
  logins: z.number().optional(),
  database: z.string(),
  protocol: z.enum(protocolNames),
  user: z.string(),
  name: z.string().optional(),
});
export type ConnectAnswer = z.infer<typeof ConnectAnswer>;

/** What vouches for the proxies: every authority that is not a public one (PEM), and every pin, of now and of the next renewal. */
export const TrustAnswer = z.object({ ca: z.string().optional(), pins: z.array(z.string()) });

export const SessionAnswer = z.object({
  token: z.string(),
  expiresAt: z.number(),
  user: z.string(),
  roles: z.array(z.string()),
});
export const InviteAnswer = z.object({ invite: z.string(), user: z.string(), expiresAt: z.number() });

/** A database as someone who may reach it sees it. */
export const ReachableDatabase = Database.pick({
  name: true,
  kind: true,
  protocol: true,
  description: true,
  labels: true,
  status: true,
  reason: true,
  endpoint: true,
  network: true,
}).extend({ users: z.array(z.object({ user: z.string(), names: z.array(z.string()) })) });
export type ReachableDatabase = z.infer<typeof ReachableDatabase>;

export const ReasonLine = z.object({ code: z.string(), role: z.string().optional(), text: z.string() });
export const Explanation = z.object({
  allowed: z.boolean(),
  database: z.string(),
  user: z.string(),
  name: z.string().optional(),
  /** The roles that allow it. */
  roles: z.array(z.string()),
  reasons: z.array(ReasonLine),
  nearest: z.string().optional(),
});
export type Explanation = z.infer<typeof Explanation>;

const Metadata = z.strictObject({
  name: Name,
  description: z.string().max(500).optional(),
  /** As read; a write with a revision that is no longer current is a conflict; absent means create. */
  revision: z.number().int().optional(),
});
const document = <K extends string, V extends z.ZodType, S extends z.ZodType>(kind: K, version: V, spec: S) =>
  z.strictObject({ kind: z.literal(kind), version, metadata: Metadata, spec });

const Spent = z.object({ used: z.number(), most: z.number() });
/** A database user whose password is rotated, as far as it has come; nothing here is a secret. */
const ManagedUserSpec = z.object({
  service: z.enum(managedServices),
  account: z.string(),
  region: z.string(),
  /** What AWS calls it, and the name it logs in by. */
  id: z.string(),
  user: z.string(),
  /** The databases that let it in. */
  databases: z.array(z.string()),
  state: z.enum(managedStates),
  last_success: z.iso.datetime().optional(),
  next_due: z.iso.datetime(),
  /** Attempts that failed since the last success, and when the next one may be. */
  failures: z.number(),
  retry_at: z.iso.datetime().optional(),
  last_error: z.object({ at: z.iso.datetime(), code: z.string(), message: z.string() }).optional(),
  /** Versions of its secret that were made in the last 24 hours: by the clock, and by hand or to mend something. */
  budget: z.object({ scheduled: Spent, spare: Spent }),
  /** The name of its secret. */
  secret: z.string(),
});

/** What `sally create -f` reads and `sally get` prints. */
export const documents = {
  role: document("role", RoleVersion, z.record(z.string(), z.unknown())),
  user: document(
    "user",
    z.literal("v1").default("v1"),
    z.strictObject({ roles: z.array(Name), traits: Traits.optional(), state: User.shape.state.optional() }),
  ),
  lock: document(
    "lock",
    z.literal("v1").default("v1"),
    z.strictObject({
      target: LockTarget,
      message: z.string().max(500).optional(),
      expires: z.iso.datetime().optional(),
    }),
  ),
  db: document(
    "db",
    z.literal("v1").default("v1"),
    // names an AWS object; where it is comes from AWS, so an endpoint here is an error
    z.strictObject({
      kind: z.enum(kindNames),
      account: z.string().regex(/^\d{12}$/),
      region: Region,
      identifier: z.string().min(1).max(255),
      labels: z.record(z.string(), z.string()).optional(),
    }),
  ),
  discovery_config: document("discovery_config", z.literal("v1").default("v1"), DiscoveryConfigSpec),
  // what AWS's tags and rotation make of it: shown, and never put
  managed_user: document("managed_user", z.literal("v1").default("v1"), ManagedUserSpec),
} as const;
export const resourceKinds = ["role", "user", "lock", "db", "discovery_config", "managed_user"] as const;
export type ResourceKind = (typeof resourceKinds)[number];
export const Document = z.discriminatedUnion("kind", [
  documents.role,
  documents.user,
  documents.lock,
  documents.db,
  documents.discovery_config,
  documents.managed_user,
]);
export type Document = z.infer<typeof Document>;
export type ManagedUserDocument = z.infer<typeof documents.managed_user>;

/** Outcome of one listing of a discovery run. */
export const RunLine = z.object({
  listing: z.string(),
  at: z.number(),
  complete: z.boolean(),
  found: z.number(),
  written: z.array(z.string()),
  removed: z.array(z.string()),
  warnings: z.array(z.string()),
  error: z.string().optional(),
});
export type RunLine = z.infer<typeof RunLine>;

/** One thing that `doctor` looked at. */
export const Finding = z.object({
  /** `problem`: nobody gets through until it is mended. `warning`: look at it. */
  level: z.enum(["ok", "warning", "problem"]),
  /** The database, listing or network it is about. */
  about: z.string(),
  text: z.string(),
  hint: z.string().optional(),
});
export type Finding = z.infer<typeof Finding>;

/** `public`: no login. `user`: any active login. `admin`: holders of the built-in role. */
export type RouteAccess = "public" | "user" | "admin";
interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** `{x}` are path parameters; they are part of the input. */
  readonly path: string;
  readonly access: RouteAccess;
  /** Path parameters, query and body in one object. */
  readonly input: z.ZodType;
  readonly output: z.ZodType;
}

const ResourceName = z.strictObject({ kind: z.enum(resourceKinds), name: Name });

export const routes = {
  login: {
    method: "POST",
    path: "/v1/login",
    access: "public",
    input: z.strictObject({ user: Name, password: z.string().max(256), ttl: Milliseconds.optional() }),
    output: SessionAnswer,
  },
  acceptInvite: {
    method: "POST",
    path: "/v1/invites",
    access: "public",
    input: z.strictObject({ invite: z.string().max(256), password: Password }),
    output: z.object({ user: z.string() }),
  },
  trust: {
    method: "GET",
    path: "/v1/trust",
    access: "public",
    input: empty,
    output: TrustAnswer,
  },
  logout: { method: "POST", path: "/v1/logout", access: "user", input: empty, output: empty },
  status: {
    method: "GET",
    path: "/v1/status",
    access: "user",
    input: empty,
    output: z.object({
      user: z.string(),
      roles: z.array(z.string()),
      traits: Traits,
      expiresAt: z.number(),
      admin: z.boolean(),
    }),
  },
  databases: {
    method: "GET",
    path: "/v1/databases",
    access: "user",
    input: empty,
    output: z.object({ databases: z.array(ReachableDatabase) }),
  },
  connect: {
    method: "POST",
    path: "/v1/tokens",
    access: "user",
    input: z.strictObject({
      database: z.string().min(1).max(255),
      /** Left out: the only one that the roles name, else an error that lists them. */
      user: WireName.optional(),
      name: WireName.optional(),
      /** A public key (SPKI DER in base64; P-256 or Ed25519) binds the token to it; without one it is a bearer. */
      key: z.string().max(512).optional(),
    }),
    output: ConnectAnswer,
  },
  revoke: {
    method: "DELETE",
    path: "/v1/tokens/{id}",
    access: "user",
    input: z.strictObject({ id: Sha256 }),
    output: empty,
  },
  explain: {
    method: "POST",
    path: "/v1/explain",
    access: "user",
    input: z.strictObject({
      database: z.string().min(1).max(255),
      user: WireName.optional(),
      name: WireName.optional(),
      as: Name.optional(),
    }),
    output: Explanation,
  },
  invite: {
    method: "POST",
    path: "/v1/users",
    access: "admin",
    input: z.strictObject({ user: Name, roles: z.array(Name).max(64), traits: Traits.optional() }),
    output: InviteAnswer,
  },
  reset: {
    method: "POST",
    path: "/v1/users/{user}/reset",
    access: "admin",
    input: z.strictObject({ user: Name }),
    output: InviteAnswer,
  },
  discover: {
    method: "POST",
    path: "/v1/discover",
    access: "admin",
    input: z.strictObject({ dryRun: z.boolean().optional() }),
    output: z.object({ runs: z.array(RunLine) }),
  },
  rotate: {
    method: "POST",
    path: "/v1/rotate",
    access: "admin",
    /** A managed user: its whole name, or what AWS calls it where only one is called so. */
    input: z.strictObject({ user: z.string().min(1).max(255) }),
    /** As it stands after the first step. */
    output: documents.managed_user,
  },
  doctor: {
    method: "POST",
    path: "/v1/doctor",
    access: "admin",
    input: z.strictObject({ database: z.string().min(1).max(255).optional() }),
    output: z.object({ findings: z.array(Finding) }),
  },
  listResources: {
    method: "GET",
    path: "/v1/resources/{kind}",
    access: "admin",
    input: z.strictObject({ kind: z.enum(resourceKinds) }),
    output: z.object({ resources: z.array(Document) }),
  },
  getResource: {
    method: "GET",
    path: "/v1/resources/{kind}/{name}",
    access: "admin",
    input: ResourceName,
    output: Document,
  },
  putResource: {
    method: "PUT",
    path: "/v1/resources/{kind}/{name}",
    access: "admin",
    input: ResourceName.extend({ document: Document }),
    output: Document,
  },
  removeResource: {
    method: "DELETE",
    path: "/v1/resources/{kind}/{name}",
    access: "admin",
    input: ResourceName,
    output: empty,
  },
} as const satisfies Record<string, Route>;
export type RouteName = keyof typeof routes;
export type Input<R extends RouteName> = z.input<(typeof routes)[R]["input"]>;
export type Output<R extends RouteName> = z.output<(typeof routes)[R]["output"]>;

/** An error as it is sent. */
export const ErrorAnswer = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
    /** Find it in the log by this. */
    id: z.string(),
  }),
});
export type ErrorAnswer = z.infer<typeof ErrorAnswer>;
