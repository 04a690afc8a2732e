// AWS STS: AssumeRole with trust policies, and GetCallerIdentity.
// Rule: the role's trust policy and the caller's own policy are two doors; a principal named outright in its own account needs only the first.
import * as sts from "@aws-sdk/client-sts";
import { type Account, contextOf, type Identity, type Role, type Tags } from "../account.ts";
import { type Api, type Call, notAuthorized, operation, sdkApi, unused } from "../api.ts";
import { type Context, conditionsHold, lookUp, type Need } from "../iam.ts";
import { Refusal } from "../refusal.ts";

const hour = 3600;

/** A role that was assumed, as CloudTrail tells of it. */
export interface Assumption {
  readonly at: number;
  /** Who assumed it. */
  readonly by: string;
  readonly roleArn: string;
  readonly sessionName: string;
  readonly sourceIdentity?: string;
  readonly externalId?: string;
  readonly region: string;
  readonly accessKeyId: string;
}
export interface Sts extends Api {
  /** The newest, oldest first. */
  assumptions(): readonly Assumption[];
}
const recordLimit = 10_000;

/** `accounts` is read at every call: an account added later can be assumed into. */
export function openSts(accounts: readonly Account[]): Sts {
  const records: Assumption[] = [];
  const find = (arn: string) => {
    for (const account of accounts) {
      const role = arn.startsWith("arn:") ? account.role(arn) : undefined;
      if (role) return { account, role };
    }
    return undefined;
  };

  const api = sdkApi({
    name: "sts",
    client: new sts.STSClient(unused),
    module: sts,
    operations: {
      GetCallerIdentity: operation<sts.GetCallerIdentityRequest>({
        needs: () => [], // AWS asks for no permission here
        run: (_, { identity }) => ({ Account: identity.accountId, Arn: identity.arn, UserId: identity.userId }),
      }),

      AssumeRole: operation<sts.AssumeRoleRequest>({
        needs(input, { identity }) {
          const wanted = ["sts:AssumeRole"];
          if (input.Tags?.length) wanted.push("sts:TagSession");
          if (input.SourceIdentity !== undefined) wanted.push("sts:SetSourceIdentity");
          const role = find(input.RoleArn ?? "")?.role;
          const context = { ...asked(input), ...tagsOf(role) };
          return wanted.flatMap((action): readonly Need[] => {
            const need: Need = { action, resource: input.RoleArn ?? "", context, trusted: true };
            const door = role && trusted(role, identity, need);
            if (!door) throw notAuthorized(identity, need);
            return door === "named" ? [] : [need];
          });
        },

        run(input, call) {
          const found = find(input.RoleArn ?? "");
          if (!found) throw new Refusal("AccessDenied", "the role is gone", 403);
          const answer = assume(found, input, call);
          records.push({
            at: call.at,
            by: call.identity.arn,
            roleArn: found.role.arn,
            sessionName: input.RoleSessionName ?? "",
            ...(answer.SourceIdentity !== undefined && { sourceIdentity: answer.SourceIdentity }),
            ...(input.ExternalId !== undefined && { externalId: input.ExternalId }),
            region: call.region,
            accessKeyId: answer.Credentials.AccessKeyId,
          });
          if (records.length > recordLimit) records.shift();
          return answer;
        },
      }),
    },
  });
  return { ...api, assumptions: () => [...records] };
}

function assume({ account, role }: { account: Account; role: Role }, input: sts.AssumeRoleRequest, call: Call) {
  if (
    input.Policy !== undefined ||
    input.PolicyArns?.length ||
    input.SerialNumber !== undefined ||
    input.ProvidedContexts?.length
  ) {
    throw new Refusal("NotImplemented", "the laptop account knows no session policies and no MFA devices", 501);
  }
  const sessionName = input.RoleSessionName ?? "";
  requirePattern("roleSessionName", sessionName, /^[\w+=,.@-]{2,64}$/, "[\\w+=,.@-]*");
  if (input.SourceIdentity !== undefined)
    requirePattern("sourceIdentity", input.SourceIdentity, /^[\w+=,.@-]{2,64}$/, "[\\w+=,.@-]*");
  if (input.ExternalId !== undefined)
    requirePattern("externalId", input.ExternalId, /^[\w+=,.@:/-]{2,1224}$/, "[\\w+=,.@:\\/-]*");
  const { session } = call.identity;
  const seconds = input.DurationSeconds ?? hour;
  requireDuration(seconds, role, session !== undefined);
  if (
    session?.sourceIdentity !== undefined &&
    input.SourceIdentity !== undefined &&
    input.SourceIdentity !== session.sourceIdentity
  ) {
    throw new Refusal("AccessDenied", "SourceIdentity can not be changed once it is set", 403);
  }
  const sourceIdentity = input.SourceIdentity ?? session?.sourceIdentity;
  const { credentials, identity } = account.session(role.arn, {
    sessionName,
    lifetimeMs: seconds * 1000,
    ...sessionTags(input, session?.transitive ?? {}),
    ...(sourceIdentity !== undefined && { sourceIdentity }),
  });
  return {
    Credentials: {
      AccessKeyId: credentials.accessKeyId,
      SecretAccessKey: credentials.secretAccessKey,
      SessionToken: credentials.sessionToken,
      Expiration: credentials.expiration,
    },
    AssumedRoleUser: { AssumedRoleId: identity.userId, Arn: identity.arn },
    SourceIdentity: sourceIdentity,
    PackedPolicySize: input.Tags?.length ? 1 : undefined,
  };
}

function requireDuration(seconds: number, role: Role, chained: boolean): void {
  const limit = (word: string, bound: number) =>
    invalid(
      `1 validation error detected: Value '${seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value ${word} than or equal to ${bound}`,
    );
  if (!(seconds >= 900)) throw limit("greater", 900);
  if (seconds > 12 * hour) throw limit("less", 12 * hour);
  if (chained && seconds > hour)
    throw invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.");
  if (seconds * 1000 > role.maxSessionFor)
    throw invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
}

function sessionTags(input: sts.AssumeRoleRequest, inherited: Tags): { tags: Tags; transitive: Tags } {
  const given = (input.Tags ?? []).map(({ Key = "", Value = "" }) => [Key, Value] as const);
  const lower = given.map(([key]) => key.toLowerCase());
  if (given.length > 50 || new Set(lower).size !== lower.length)
    throw invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.", "InvalidParameterValue");
  for (const key of Object.keys(inherited)) {
    if (lower.includes(key.toLowerCase()))
      throw invalid(
        "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        "InvalidParameterValue",
      );
  }
  const tags = Object.fromEntries(given);
  const kept = (input.TransitiveTagKeys ?? []).map((key) => {
    const value = tags[key];
    if (value === undefined)
      throw invalid(
        "The specified transitive tag key must be included in the requested tags.",
        "InvalidParameterValue",
      );
    return [key, value] as const;
  });
  return { tags, transitive: { ...inherited, ...Object.fromEntries(kept) } };
}

/** Whether the role's trust policy lets this caller in, and whether by its own name or only through its account. */
function trusted(role: Role, identity: Identity, need: Need): "named" | "account" | undefined {
  const context = lookUp({ ...contextOf(identity), ...need.context });
  const doors = role.trust
    .filter(
      (trust) =>
        (trust.actions ?? ["sts:AssumeRole"]).includes(need.action) && conditionsHold(trust.conditions ?? {}, context),
    )
    .flatMap((trust) => trust.principals.map((principal) => opens(principal, role, identity)));
  return doors.find((door) => door === "named") ?? doors.find((door) => door === "account");
}

function opens(principal: string, role: Role, identity: Identity): "named" | "account" | undefined {
  const own = role.arn.split(":")[4] === identity.accountId;
  if (principal === identity.arn || principal === identity.principalArn) return own ? "named" : "account";
  const accountWide = ["*", identity.accountId, `arn:aws:iam::${identity.accountId}:root`];
  return accountWide.includes(principal) ? "account" : undefined;
}

/** The condition keys AssumeRole carries. */
function asked(input: sts.AssumeRoleRequest): Context {
  return {
    "sts:ExternalId": input.ExternalId,
    "sts:RoleSessionName": input.RoleSessionName,
    "sts:SourceIdentity": input.SourceIdentity,
    "sts:TransitiveTagKeys": input.TransitiveTagKeys,
    "aws:TagKeys": input.Tags?.map(({ Key = "" }) => Key),
    ...Object.fromEntries((input.Tags ?? []).map(({ Key = "", Value }) => [`aws:RequestTag/${Key}`, Value])),
  };
}

/** The tags of the role that is to be assumed, by both names that IAM has for them. */
const tagsOf = (role: Role | undefined): Context =>
  Object.fromEntries(
    Object.entries(role?.tags ?? {}).flatMap(([key, value]) =>
      ["iam", "aws"].map((prefix) => [`${prefix}:ResourceTag/${key}`, value]),
    ),
  );

function requirePattern(member: string, value: string, pattern: RegExp, told: string): void {
  if (!pattern.test(value)) {
    throw invalid(
      `1 validation error detected: Value '${value}' at '${member}' failed to satisfy constraint: Member must satisfy regular expression pattern: ${told}`,
    );
  }
}

const invalid = (message: string, code = "ValidationError"): Refusal => new Refusal(code, message, 400);
