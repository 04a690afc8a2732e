// Assumed roles: base keys → the account's role → the role that is the database user, each hop a call to STS.
// Rules: the keys of one person are never another's, or CloudTrail names the wrong one; one call is in flight per chain and
// person; keys are dropped five minutes before they end; the external id is used once.
import { createHash } from "node:crypto";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import type { Assumed } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Clock } from "@sallyport/core/ports";
import { type Connection, clientOptions, errorName, isAccessDenied, type KeyProvider, type Keys } from "./client.ts";
import { ownKeys } from "./iam.ts";

export interface Hop {
  readonly roleArn: string;
  readonly externalId?: string | undefined;
  /** It is a person's own: the person is its source identity too, where its trust policy takes one. */
  readonly personal?: true;
}
/** Whose keys, where. No hops: the process's own. */
export interface KeysFor {
  readonly hops: readonly Hop[];
  readonly person: string;
  readonly region: string;
}
export interface AssumedRoles {
  keys(of: KeysFor): Promise<Keys>;
  /** Drops what is kept for a person whose access changed, or for everybody. */
  forget(person?: string): void;
}

// every hop from a task or function is role chaining, which AWS limits to an hour
const sessionSeconds = 3600;
const dropBefore = 5 * 60_000;
const longestName = 64;
const mostKept = 10_000;

/** The way to a database's account and, for kinds whose users are roles, on to the role. The external id goes with the first hop. */
export const hopsOf = (
  assume: Assumed | undefined,
  userRole?: string,
  externalId = assume?.externalId,
): readonly Hop[] => [
  ...(assume ? [{ roleArn: assume.roleArn, externalId }] : []),
  ...(userRole === undefined
    ? []
    : [{ roleArn: userRole, externalId: assume ? undefined : externalId, personal: true as const }]),
];

/** `sally-<user>`; when characters were replaced or cut, a hash keeps two people apart. */
export const sessionName = (user: string): string => {
  const wanted = `sally-${user}`;
  const clean = wanted.replace(/[^\w+=,.@-]/g, "-");
  if (clean === wanted && clean.length <= longestName) return clean;
  const mark = `=${createHash("sha256").update(user).digest("hex").slice(0, 8)}`;
  return clean.slice(0, longestName - mark.length) + mark;
};

export const openAssumedRoles = (options: { connection?: Connection; clock: Clock }): AssumedRoles => {
  const { connection = {}, clock } = options;
  const base = connection.keys ?? ownKeys();
  /** Roles that took no source identity when they were last asked. */
  const plain = new Set<string>();
  const kept = new Map<string, { readonly person: string; readonly keys: Promise<Keys>; until: number }>();

  const keys = ({ hops, person, region }: KeysFor): Promise<Keys> => {
    const hop = hops.at(-1);
    if (!hop) return base();
    const id = JSON.stringify([hops, person, region]);
    const known = kept.get(id);
    if (known && known.until > clock.now()) return known.keys;
    const before: KeyProvider = () => keys({ hops: hops.slice(0, -1), person, region });
    const asked = assume(hop, person, { ...connection, region, keys: before }, plain);
    const entry = { person, keys: asked, until: Number.POSITIVE_INFINITY };
    if (kept.size >= mostKept) for (const [other, { until }] of kept) if (until <= clock.now()) kept.delete(other);
    kept.set(id, entry);
    asked.then(
      ({ expiration }) => {
        entry.until = (expiration?.getTime() ?? 0) - dropBefore;
      },
      () => {
        if (kept.get(id) === entry) kept.delete(id);
      },
    );
    return asked;
  };

  return {
    keys,
    forget(person) {
      plain.clear();
      for (const [id, entry] of kept) if (person === undefined || entry.person === person) kept.delete(id);
    },
  };
};

const assume = async (hop: Hop, person: string, connection: Connection, plain: Set<string>): Promise<Keys> => {
  const client = new STSClient(clientOptions(connection));
  const name = sessionName(person);
  const send = (identified: boolean) =>
    client.send(
      new AssumeRoleCommand({
        RoleArn: hop.roleArn,
        RoleSessionName: name,
        DurationSeconds: sessionSeconds,
        ...(hop.externalId !== undefined && { ExternalId: hop.externalId }),
        ...(identified && { SourceIdentity: name }),
      }),
    );
  try {
    const identified = hop.personal === true && !plain.has(hop.roleArn);
    const { Credentials } = await send(identified).catch(async (thrown: unknown) => {
      if (!identified || !isAccessDenied(thrown)) throw thrown;
      // its trust policy, or our own, may lack sts:SetSourceIdentity: the session's name still says who it is
      const answer = await send(false);
      plain.add(hop.roleArn);
      return answer;
    });
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {};
    if (!AccessKeyId || !SecretAccessKey || !SessionToken || !Expiration)
      throw new Failure("unavailable", `STS gave no keys for ${hop.roleArn}`);
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration: Expiration,
    };
  } catch (thrown) {
    throw worded(thrown, hop, person, connection.region ?? "");
  } finally {
    client.destroy();
  }
};

const worded = (thrown: unknown, hop: Hop, person: string, region: string): Failure => {
  if (thrown instanceof Failure) return thrown;
  if (isAccessDenied(thrown))
    return new Failure("denied", `AWS does not let us assume ${hop.roleArn}`, {
      hint: trustHint(callerIn(thrown), hop, person, region),
      cause: thrown,
    });
  return new Failure("unavailable", `assuming ${hop.roleArn} failed (${errorName(thrown) || "unknown error"})`, {
    hint: "try again; if it stays so, look whether STS is reachable in this region",
    cause: thrown,
  });
};

/** Both halves that must agree, and how to try. The external id itself is not said: who reads this may not know it. */
const trustHint = (caller: string, { roleArn, externalId }: Hop, person: string, region: string): string => {
  const own = { Effect: "Allow", Action: "sts:AssumeRole", Resource: roleArn };
  const condition = { StringEquals: { "sts:ExternalId": "<external id>" } };
  const trust = { Effect: "Allow", Principal: { AWS: caller }, Action: "sts:AssumeRole" };
  const words = [
    "aws sts assume-role --role-arn",
    roleArn,
    "--role-session-name",
    sessionName(person),
    "--region",
    region,
  ];
  return [
    `the policy of ${caller} needs ${JSON.stringify(own)}`,
    `the trust policy of ${roleArn} needs ${JSON.stringify(externalId === undefined ? trust : { ...trust, Condition: condition })}`,
    `try it as ${caller}: ${[...words, ...(externalId === undefined ? [] : ["--external-id '<external id>'"])].join(" ")}`,
  ].join("\n");
};

/** AWS's sentence names the caller; a role's session stands for the role. */
const callerIn = (thrown: unknown): string => {
  const named = /User: (arn:[^\s]+)/.exec(thrown instanceof Error ? thrown.message : "")?.[1];
  const session = /^arn:([\w-]+):sts::(\d{12}):assumed-role\/([^/]+)\//.exec(named ?? "");
  if (session) return `arn:${session[1]}:iam::${session[2]}:role/${session[3]}`;
  return named ?? "<the role that calls>";
};
