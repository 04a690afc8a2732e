// The kinds of resources and the rules of each: what may be stored, what must stay.
import * as z from "zod";
import type { ResourceKind } from "./api.ts";
import { Database } from "./database.ts";
import { DiscoveryConfig, DynamicDatabase } from "./discovery.ts";
import { Failure } from "./failure.ts";
import { keys, read, readAll } from "./family.ts";
import { allUsers, requireOtherAdmin, requireRoles } from "./invite.ts";
import { Lock } from "./lock.ts";
import { type Desk, endLogins } from "./login.ts";
import { managedUser } from "./managed-document.ts";
import { makeResource, type Resource } from "./resource.ts";
import { compileRole, Role, RoleSpec, requireSupported } from "./role.ts";
import { adminRole, PasswordHash, User } from "./user.ts";

const described = { description: z.string().optional() };
const metadataOf = ({
  name,
  revision,
  description,
}: {
  name: string;
  revision: number;
  description?: string | undefined;
}) => ({
  name,
  ...(description === undefined ? {} : { description }),
  revision,
});

const role = makeResource({
  kind: "role",
  key: keys.role,
  schema: Role.extend(described),
  events: { put: "role.change", remove: "role.remove" },
  access: true,
  toDocument: (stored) => ({
    kind: "role",
    version: stored.version,
    metadata: metadataOf(stored),
    spec: stored.spec,
  }),
  make: async (_desk, { version, spec }, stamp) => {
    if (stamp.name === adminRole)
      throw new Failure("invalid", `role ${adminRole} is built in`, { hint: "use another name" });
    compileRole({ name: stamp.name, version, spec });
    requireSupported(stamp.name, RoleSpec.parse(spec));
    return { ...stamp, version, spec };
  },
  removal: async ({ store }, { name }) => {
    const holders = (await allUsers(store)).filter((user) => user.roles.includes(name)).map((user) => user.name);
    if (holders.length > 0)
      throw new Failure(
        "conflict",
        `role ${name} is held by ${holders.slice(0, 10).join(", ")}${holders.length > 10 ? ", …" : ""}`,
        {
          // without it a deny of theirs could be gone, so they would reach nothing at all
          hint: "take it from them first",
          details: { users: holders },
        },
      );
    return [];
  },
});

type UserState = User["state"];
/** The state a document puts a user into. Only an invitation makes somebody active. */
const nextState = async (
  { store }: Desk,
  name: string,
  wanted: UserState | undefined,
  before: UserState | undefined,
) => {
  const next = wanted ?? before ?? "invited";
  if (next === before || next === "disabled") return next;
  const invitation = { hint: `sally users reset ${name} makes an invite` };
  if (before === "active") throw new Failure("invalid", `user ${name} is active already`, invitation);
  if (next === "active" && !(before === "disabled" && (await read(store, PasswordHash, keys.password(name)))))
    throw new Failure("invalid", `user ${name} has no password yet`, invitation);
  return next;
};

const user = makeResource({
  kind: "user",
  key: keys.user,
  schema: User,
  events: { put: "user.change", remove: "user.remove" },
  access: true,
  toDocument: (stored) => ({
    kind: "user",
    version: "v1",
    metadata: metadataOf(stored),
    spec: { roles: stored.roles, traits: stored.traits, state: stored.state },
  }),
  make: async (desk, { spec }, stamp, before) => {
    const roles = [...new Set(spec.roles)];
    await requireRoles(desk.store, roles);
    const state = await nextState(desk, stamp.name, spec.state, before?.state);
    if (before && !(state === "active" && roles.includes(adminRole))) await requireOtherAdmin(desk, before);
    return { ...stamp, roles, traits: spec.traits ?? {}, state };
  },
  removal: async (desk, before) => {
    await requireOtherAdmin(desk, before);
    return [{ remove: keys.password(before.name) }, { remove: keys.openInvite(before.name) }];
  },
  after: async (desk, name, now, actor) => {
    if (now?.state !== "active") await endLogins(desk, name, actor);
  },
});

const lock = makeResource({
  kind: "lock",
  key: keys.lock,
  schema: Lock.extend(described),
  events: { put: "lock.create", remove: "lock.remove" },
  access: true,
  toDocument: (stored) => ({
    kind: "lock",
    version: "v1",
    metadata: metadataOf(stored),
    spec: {
      target: stored.target,
      ...(stored.message === "" ? {} : { message: stored.message }),
      ...(stored.expiresAt === undefined ? {} : { expires: new Date(stored.expiresAt).toISOString() }),
    },
  }),
  make: async (desk, { spec }, stamp) => {
    const { target, message = "", expires } = spec;
    const expiresAt = expires === undefined ? undefined : Date.parse(expires);
    if (expiresAt !== undefined && expiresAt <= desk.clock.now())
      throw new Failure("invalid", "this lock would have expired already", { hint: "give a time to come" });
    if ("role" in target && target.role === adminRole)
      throw new Failure("invalid", `a lock on role ${adminRole} would lock every administrator out`, {
        hint: "lock the users",
      });
    const locked = "user" in target ? await read(desk.store, User, keys.user(target.user)) : undefined;
    if (locked) await requireOtherAdmin(desk, locked);
    return { ...stamp, target, message, ...(expiresAt === undefined ? {} : { expiresAt }) };
  },
  removal: async () => [],
  until: (stored) => stored.expiresAt,
});

const StoredDatabase = DynamicDatabase.extend({
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});

const mostDescription = 500;
/** Of a found database: why it is not available, which an administrator asks for who may reach none, else its description. */
const foundMetadata = ({ status, reason, description }: Pick<Database, "status" | "reason" | "description">) => {
  const text = reason === undefined ? description : `${status}: ${reason}`.slice(0, mostDescription);
  return text === "" ? {} : { description: text };
};

const db = makeResource({
  kind: "db",
  key: keys.dynamicDatabase,
  schema: StoredDatabase,
  events: { put: "database.change", remove: "database.remove" },
  access: false,
  toDocument: ({ kind, account, region, identifier, labels, description, ...stored }) => ({
    kind: "db",
    version: "v1",
    metadata: metadataOf({ ...stored, ...(description === "" ? {} : { description }) }),
    spec: { kind, account, region, identifier, labels },
  }),
  make: async ({ store }, { spec }, { description = "", ...stamp }) => {
    const found = await read(store, Database, keys.database(stamp.name));
    if (found && found.origin !== "dynamic")
      throw new Failure("conflict", `discovery has found a database ${stamp.name} already`, {
        hint: "use another name",
      });
    return { ...stamp, ...spec, labels: spec.labels ?? {}, description };
  },
  removal: async () => [],
  // what discovery found, through a document too: a cluster's reader beside the cluster
  found: async ({ store }) =>
    (await readAll(store, Database, keys.database("").pk)).map(
      ({ name, status, reason, description, kind, account, region, identifier, labels }) => ({
        kind: "db",
        version: "v1",
        metadata: { name, ...foundMetadata({ status, reason, description }) },
        spec: { kind, account, region, identifier, labels },
      }),
    ),
});

const discoveryConfig = makeResource({
  kind: "discovery_config",
  key: keys.discoveryConfig,
  schema: DiscoveryConfig.extend(described),
  events: { put: "discovery_config.change", remove: "discovery_config.remove" },
  access: false,
  toDocument: (stored) => ({
    kind: "discovery_config",
    version: "v1",
    metadata: metadataOf(stored),
    spec: stored.spec,
  }),
  make: async (_desk, { spec }, stamp) => ({ ...stamp, spec }),
  removal: async () => [],
});

export const resources: Readonly<Record<ResourceKind, Resource>> = {
  role,
  user,
  lock,
  db,
  discovery_config: discoveryConfig,
  managed_user: managedUser,
};
