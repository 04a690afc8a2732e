// One AWS account's identities: roles with trust policies, users with static keys, sessions with temporary ones.
// Rule: a key carries its identity and nothing else; what it may do is read from its role or user at the moment of the call.
import { createHash, randomBytes } from "node:crypto";
import type { Statement } from "@sallyport/core/permission";
import { allows, type Context, type Need } from "./iam.ts";

/** Who may assume a role. Principals: an account id, `*`, or the ARN of an account root, role, user or role session; or a service. */
export interface Trust {
  readonly principals: readonly string[];
  /** Default: sts:AssumeRole alone. Session tags need sts:TagSession too, a source identity sts:SetSourceIdentity. */
  readonly actions?: readonly string[];
  readonly conditions?: NonNullable<Statement["conditions"]>;
}

export type Tags = Readonly<Record<string, string>>;

export interface Role {
  readonly name: string;
  readonly arn: string;
  readonly id: string;
  readonly trust: readonly Trust[];
  readonly statements: readonly Statement[];
  readonly tags: Tags;
  /** The longest session it gives, in milliseconds. */
  readonly maxSessionFor: number;
}

export interface User {
  readonly name: string;
  readonly arn: string;
  readonly id: string;
  readonly statements: readonly Statement[];
  readonly tags: Tags;
}

/** Who is calling. `arn` is what AWS prints; `principalArn` the role or user behind it. */
export interface Identity {
  readonly accountId: string;
  readonly arn: string;
  readonly principalArn: string;
  readonly userId: string;
  /** Principal tags: the role's or user's own, overridden by session tags. */
  readonly tags: Tags;
  readonly session?: { readonly name: string; readonly transitive: Tags; readonly sourceIdentity?: string };
}

/** What the SDK's clients take, and what environment variables are made of. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** What a verifier looks up. */
export interface Key {
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiresAt?: number;
  readonly identity: Identity;
}

export interface SessionOptions {
  readonly sessionName: string;
  /** How long the keys are good for, in milliseconds. */
  readonly lifetimeMs?: number;
  readonly tags?: Tags;
  readonly transitive?: Tags;
  readonly sourceIdentity?: string;
}

export interface Account {
  readonly id: string;
  readonly region: string;
  addRole(role: {
    name: string;
    path?: string;
    trust?: readonly Trust[];
    statements?: readonly Statement[];
    tags?: Tags;
    maxSessionFor?: number;
  }): Role;
  addUser(user: { name: string; statements?: readonly Statement[]; tags?: Tags }): {
    user: User;
    credentials: Credentials;
  };
  /** Replaces a role's or user's statements, for sessions that exist too. */
  attach(principalArn: string, statements: readonly Statement[]): void;
  trust(roleArn: string, trust: readonly Trust[]): void;
  /** Deletes a role or user: its keys and sessions stop working. */
  remove(principalArn: string): void;
  role(nameOrArn: string): Role | undefined;
  /** Keys for a role as Lambda or ECS hands them out: no trust policy is asked. Default lifetime six hours. */
  session(roleNameOrArn: string, options: SessionOptions): { credentials: Credentials; identity: Identity };
  key(accessKeyId: string): Key | undefined;
  policyOf(identity: Identity): readonly Statement[];
  may(identity: Identity, action: string, resource: string, context?: Context): boolean;
  permits(identity: Identity, need: Need): boolean;
}

const hour = 3_600_000;

export function openAccount(options: { id?: string; region?: string; now?: () => number } = {}): Account {
  const { id = "111122223333", region = "eu-west-1", now = Date.now } = options;
  const roles = new Map<string, Role>();
  const users = new Map<string, User>();
  const keys = new Map<string, Key>();

  const find = (nameOrArn: string) =>
    roles.get(nameOrArn) ?? [...roles.values()].find((role) => role.name === nameOrArn);
  const permits = (identity: Identity, need: Need) =>
    allows(policyOf(identity), { ...need, context: { ...contextOf(identity), ...need.context } });

  function policyOf(identity: Identity): readonly Statement[] {
    if (identity.accountId !== id) return [];
    return (roles.get(identity.principalArn) ?? users.get(identity.principalArn))?.statements ?? [];
  }

  function addKey(prefix: string, key: Omit<Key, "secretAccessKey" | "sessionToken">): Credentials {
    for (const [old, { expiresAt }] of keys) if (expiresAt !== undefined && expiresAt + hour < now()) keys.delete(old);
    const accessKeyId = uniqueId(prefix);
    const secretAccessKey = randomBytes(30).toString("base64");
    if (key.expiresAt === undefined) {
      keys.set(accessKeyId, { ...key, secretAccessKey });
      return { accessKeyId, secretAccessKey };
    }
    // As long as AWS's, so that tokens signed with it are as long as real ones.
    const sessionToken = randomBytes(600).toString("base64");
    keys.set(accessKeyId, { ...key, secretAccessKey, sessionToken });
    return { accessKeyId, secretAccessKey, sessionToken, expiration: new Date(key.expiresAt) };
  }

  return {
    id,
    region,
    permits,
    policyOf,
    role: find,
    key: (accessKeyId) => keys.get(accessKeyId),
    may: (identity, action, resource, context = {}) =>
      accountOf(resource, identity.accountId) === id && permits(identity, { action, resource, context }),

    addRole({ name, path = "/", trust = [], statements = [], tags = {}, maxSessionFor = hour }) {
      requireName(name);
      const arn = `arn:aws:iam::${id}:role${path}${name}`;
      if (find(name)) throw new Error(`role ${name} exists already`);
      const role: Role = { name, arn, id: uniqueId("AROA"), trust, statements, tags, maxSessionFor };
      roles.set(arn, role);
      return role;
    },

    addUser({ name, statements = [], tags = {} }) {
      requireName(name);
      const user: User = { name, arn: `arn:aws:iam::${id}:user/${name}`, id: uniqueId("AIDA"), statements, tags };
      users.set(user.arn, user);
      const identity = { accountId: id, arn: user.arn, principalArn: user.arn, userId: user.id, tags };
      return { user, credentials: addKey("AKIA", { identity }) };
    },

    attach(principalArn, statements) {
      const [role, user] = [roles.get(principalArn), users.get(principalArn)];
      if (role) roles.set(principalArn, { ...role, statements });
      else if (user) users.set(principalArn, { ...user, statements });
      else throw new Error(`no principal ${principalArn}`);
    },

    trust(roleArn, trust) {
      const role = roles.get(roleArn);
      if (!role) throw new Error(`no role ${roleArn}`);
      roles.set(roleArn, { ...role, trust });
    },

    remove(principalArn) {
      roles.delete(principalArn);
      users.delete(principalArn);
      for (const [accessKeyId, key] of keys) if (key.identity.principalArn === principalArn) keys.delete(accessKeyId);
    },

    session(roleNameOrArn, { sessionName, lifetimeMs = 6 * hour, tags = {}, transitive = {}, sourceIdentity }) {
      const role = find(roleNameOrArn);
      if (!role) throw new Error(`no role ${roleNameOrArn}`);
      const identity: Identity = {
        accountId: id,
        arn: `arn:aws:sts::${id}:assumed-role/${role.name}/${sessionName}`,
        principalArn: role.arn,
        userId: `${role.id}:${sessionName}`,
        tags: { ...role.tags, ...transitive, ...tags },
        session: { name: sessionName, transitive, ...(sourceIdentity !== undefined && { sourceIdentity }) },
      };
      return { credentials: addKey("ASIA", { identity, expiresAt: now() + lifetimeMs }), identity };
    },
  };
}

/** Looks a key up in every account: one endpoint serves them all, as AWS's do. */
export const keysOf =
  (accounts: readonly Account[]) =>
  (accessKeyId: string): Key | undefined => {
    for (const account of accounts) {
      const key = account.key(accessKeyId);
      if (key) return key;
    }
    return undefined;
  };

/** The condition keys that say who is calling. */
export function contextOf(identity: Identity): Context {
  const { session } = identity;
  return {
    "aws:PrincipalArn": identity.principalArn,
    "aws:PrincipalAccount": identity.accountId,
    "aws:userid": identity.userId,
    ...(!session && { "aws:username": identity.principalArn.split("/").at(-1) }),
    ...(session?.sourceIdentity !== undefined && { "aws:SourceIdentity": session.sourceIdentity }),
    ...Object.fromEntries(Object.entries(identity.tags).map(([key, value]) => [`aws:PrincipalTag/${key}`, value])),
  };
}

/** The account an ARN belongs to; ARNs without one (a wildcard resource) belong to the caller's. */
export const accountOf = (arn: string, callers: string): string => arn.split(":")[4] || callers;

function requireName(name: string): void {
  if (!/^[\w+=,.@-]{1,64}$/.test(name)) throw new Error(`not an IAM name: ${name}`);
}

const uniqueId = (prefix: string): string =>
  prefix +
  createHash("sha256")
    .update(randomBytes(32))
    .digest("hex")
    .toUpperCase()
    .replaceAll("0", "Q")
    .replaceAll("1", "Z")
    .replaceAll("8", "R")
    .replaceAll("9", "T")
    .slice(0, 16);
