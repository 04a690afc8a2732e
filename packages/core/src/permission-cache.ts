// What caches need of IAM, as permission.ts adds it up: ElastiCache's two kinds and MemoryDB, whose actions differ by name alone.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticache.html
import { type ManagedService, managedServices } from "./managed.ts";
import { managedTags, unmanagedWords } from "./managed-tag.ts";
import type { Deployment, Statement } from "./permission.ts";
import { secretArn } from "./secret-arn.ts";

type Made = (deployment: Deployment) => readonly Statement[];

/** How a service writes ARNs, and what it calls reading tags and changing a user. */
const services = {
  elasticache: { between: ":", tags: "ListTagsForResource", change: "ModifyUser" },
  memorydb: { between: "/", tags: "ListTags", change: "UpdateUser" },
} as const satisfies Record<ManagedService, unknown>;

const arnsOf = (service: ManagedService, { partition, account }: Deployment, type: string, names: readonly string[]) =>
  names.map((name) => `arn:${partition}:${service}:*:${account}:${type}${services[service].between}${name}`);
const prefixed = (service: ManagedService, actions: readonly string[]) => actions.map((one) => `${service}:${one}`);

/** Listings take no resource below the account; what is asked for its tags is named by type. */
export const cacheListing =
  (service: ManagedService, listings: readonly string[], type: string): Made =>
  (d) => [
    { actions: prefixed(service, listings), resources: ["*"] },
    { actions: prefixed(service, [services[service].tags]), resources: arnsOf(service, d, type, ["*"]) },
  ];

const scoped = /^(replicationgroup|serverlesscache|cluster):([^/]+)\/(.+)$/s;
/** An entry of a deployment's scope that names a cache: `replicationgroup:orders/app`; `cluster:` is MemoryDB's. */
export const isCacheScope = (entry: string): boolean => scoped.test(entry);

/** The caches of a type and the users in the deployment's scope. */
const scopeOf = (type: string, { scope }: Deployment): { caches: readonly string[]; users: readonly string[] } => {
  if (!scope) return { caches: ["*"], users: ["*"] };
  const own = scope.flatMap((entry) => {
    const [, of, cache = "", user = ""] = scoped.exec(entry) ?? [];
    return of === type ? [{ cache, user }] : [];
  });
  return { caches: [...new Set(own.map(({ cache }) => cache))], users: [...new Set(own.map(({ user }) => user))] };
};

/** IAM asks for the cache and for the user, each by itself: two entries of a scope allow either user on either cache. */
export const cacheLogin =
  (service: ManagedService, type: string): Made =>
  (d) => {
    const { caches, users } = scopeOf(type, d);
    const resources = [...arnsOf(service, d, type, caches), ...arnsOf(service, d, "user", users)];
    return resources.length === 0
      ? []
      : [
          { actions: [`${service}:Connect`], resources },
          { actions: [`${service}:DescribeUsers`], resources: arnsOf(service, d, "user", users) },
        ];
  };

/** A managed user's password, as it is and as it was; the one that waits to be tried is rotation's alone. */
export const cachePasswords =
  (service: ManagedService): Made =>
  (d) => [
    {
      actions: ["secretsmanager:GetSecretValue"],
      resources: [secretArn(d, `${service}/*`)],
      conditions: { StringEquals: { "secretsmanager:VersionStage": ["AWSCURRENT", "AWSPREVIOUS"] } },
    },
    ...(d.managedKeyArn === undefined ? [] : [decrypting(d, d.managedKeyArn)]),
  ];

/** Secrets Manager, as KMS names whoever asks through it. */
export const viaSecrets = ({ region, partition }: Pick<Deployment, "region" | "partition">): string =>
  `secretsmanager.${region}.amazonaws.com${partition === "aws-cn" ? ".cn" : ""}`;

/** Through Secrets Manager, and of managed users' secrets alone. */
const decrypting = (d: Deployment, key: string): Statement => ({
  actions: ["kms:Decrypt"],
  resources: [key],
  conditions: {
    StringEquals: { "kms:ViaService": viaSecrets(d) },
    StringLike: { "kms:EncryptionContext:SecretARN": managedServices.map((one) => secretArn(d, `${one}/*`)) },
  },
});

/** A user is changed only while a tag of its own says so, and only into one that logs in by password. */
export const cacheChange =
  (service: ManagedService, listings: readonly string[]): Made =>
  (d) => [
    ...cacheListing(service, [...listings, "DescribeUsers"], "user")(d),
    ...managedTags.map((tag) => ({
      actions: [`${service}:${services[service].change}`],
      resources: arnsOf(service, d, "user", ["*"]),
      conditions: {
        Null: { [`aws:ResourceTag/${tag}`]: "false" },
        StringNotEqualsIgnoreCase: { [`aws:ResourceTag/${tag}`]: unmanagedWords },
        StringEquals: { [`${service}:UserAuthenticationMode`]: "password" },
      },
    })),
  ];
