// What the RDS kinds share: pages of the RDS API to the end, its errors in words, what a status means, the switch for IAM
// authentication, and the IAM token as credential.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/Welcome.html
import {
  type DBCluster,
  type DBClusterEndpoint,
  type DBInstance,
  DescribeDBClusterEndpointsCommand,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  ModifyDBClusterCommand,
  ModifyDBInstanceCommand,
  RDSClient,
  type Tag,
} from "@aws-sdk/client-rds";
import type { Credential } from "@sallyport/core/credential";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Listing, Person, Sighting } from "@sallyport/core/kind";
import type { Labels } from "@sallyport/core/label";
import type { Secret } from "@sallyport/core/secret";
import { type AssumedRoles, hopsOf } from "./assume.ts";
import { wordCall } from "./call.ts";
import type { Connection, KeyProvider, Keys } from "./client.ts";
import { isHostOf, isRdsHost } from "./host.ts";
import type { TokenFor } from "./iam.ts";
import { openClients, pages } from "./page.ts";

/** What a kind works with; one for all kinds of a process. */
export interface World {
  readonly connection: Connection;
  readonly roles: AssumedRoles;
  readonly token: (of: TokenFor, keys: Keys) => Promise<Secret>;
  /** Resolves when one more login to this database may be made. */
  readonly turn: (database: string) => Promise<void>;
}

const pageSize = 100;

export const openRdsApi = (world: World) => {
  const clientFor = openClients(world, (options) => new RDSClient(options));
  const at = (Marker: string | undefined) => ({ MaxRecords: pageSize, ...(Marker !== undefined && { Marker }) });

  return {
    instances: (listing: Listing): AsyncIterable<readonly DBInstance[]> =>
      pages("rds:DescribeDBInstances", listing, async (marker) => {
        const command = new DescribeDBInstancesCommand(at(marker));
        const { DBInstances: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    clusters: (listing: Listing): AsyncIterable<readonly DBCluster[]> =>
      pages("rds:DescribeDBClusters", listing, async (marker) => {
        const command = new DescribeDBClustersCommand(at(marker));
        const { DBClusters: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    endpoints: (listing: Listing): AsyncIterable<readonly DBClusterEndpoint[]> =>
      pages("rds:DescribeDBClusterEndpoints", listing, async (marker) => {
        const command = new DescribeDBClusterEndpointsCommand(at(marker));
        const { DBClusterEndpoints: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    /** Switches IAM authentication on, at once. A member's is its cluster's. */
    async switchOn(listing: Listing, of: "cluster" | "instance", { identifier, account, partition }: Sighting) {
      const change = { EnableIAMDatabaseAuthentication: true, ApplyImmediately: true };
      const action = of === "cluster" ? "rds:ModifyDBCluster" : "rds:ModifyDBInstance";
      const command = () =>
        of === "cluster"
          ? clientFor(listing).send(new ModifyDBClusterCommand({ ...change, DBClusterIdentifier: identifier }))
          : clientFor(listing).send(new ModifyDBInstanceCommand({ ...change, DBInstanceIdentifier: identifier }));
      const object = `${of === "cluster" ? "cluster" : "db"}:${identifier}`;
      await command().catch((thrown: unknown) => {
        throw wordCall(thrown, action, listing.region, `arn:${partition}:rds:${listing.region}:${account}:${object}`);
      });
    },
  };
};
type RdsApi = ReturnType<typeof openRdsApi>;

/** Whose setting it is tells the resource id: `cluster-…` or `db-…`. */
export const enableOf =
  ({ switchOn }: RdsApi) =>
  (listing: Listing, sighting: Sighting): Promise<void> =>
    switchOn(listing, sighting.resourceId.startsWith("cluster-") ? "cluster" : "instance", sighting);

/** Parts of an ARN: `arn:<partition>:rds:<region>:<account>:<type>:<id>`. */
export const partsOf = (arn: string): { partition: string; region: string; account: string } => {
  const [, partition = "", , region = "", account = ""] = arn.split(":");
  return { partition, region, account };
};

/** The endpoint as recorded; undefined for a host that is not the service's. */
export const endpointOf = (
  host: string | undefined,
  port: number | undefined,
  where: Pick<Database, "partition" | "region">,
  service = "rds",
): Sighting["endpoint"] =>
  host !== undefined && port !== undefined && isHostOf(service, host, where)
    ? { host, port, verifyName: host, roots: "rds" }
    : undefined;

export const tagsOf = (tags: readonly Tag[] | undefined): Labels =>
  Object.fromEntries((tags ?? []).map(({ Key = "", Value = "" }) => [Key, Value]));

const bad = new Set([
  ...[
    "creating",
    "create-failed",
    "deleting",
    "delete-precheck",
    "failed",
    "stopped",
    "stopping",
    "starting",
    "inactive",
  ],
  ...["cloning-failed", "migration-failed", "preparing-data-migration", "insufficient-capacity"],
  ...["incompatible-create", "incompatible-network", "incompatible-restore"],
]);

export interface Judged {
  readonly status: Database["status"];
  readonly reason?: string;
  readonly warning?: string;
}

/** What a state means: usable, known to be bad, or unknown, which counts as usable. `state` is lower-case. */
export const judge = (name: string, state: string, usable: ReadonlySet<string>): Judged => {
  if (usable.has(state)) return { status: "available" };
  if (bad.has(state) || state.startsWith("inaccessible-"))
    return { status: "unavailable", reason: `AWS says it is ${state}` };
  const reason = `its status ${state || "is missing:"} is not known here: it counts as usable`;
  return { status: "available", reason, warning: `${name}: ${reason}` };
};

/** IAM authentication is off, but not for long. */
export const isSwitching = (
  state: string,
  pending: { readonly IAMDatabaseAuthenticationEnabled?: boolean | undefined } | undefined,
): boolean =>
  pending?.IAMDatabaseAuthenticationEnabled === true ||
  ["configuring-iam-database-auth", "update-iam-db-auth"].includes(state);

/** What AWS gives is text like any other: whatever is no plain word is quoted (S-47). */
export const word = (text: string): string => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Other changes that wait for the maintenance window, by AWS's names: a change made at once takes them along, restarts and all. */
export const waitingIn = (pending: object = {}): readonly string[] =>
  Object.entries(pending).flatMap(([name, value]) =>
    name === "IAMDatabaseAuthenticationEnabled" || value === undefined || (Array.isArray(value) && value.length === 0)
      ? []
      : name,
  );

/** Why it can't be logged in to yet, and the command that mends it. */
export const iamOff = (
  of: "cluster" | "instance",
  region: string,
  identifier: string,
  switching: boolean,
  waiting: readonly string[] = [],
): string => {
  if (switching) return "IAM authentication is being switched on: it is looked at again with the next run";
  const command =
    `aws rds modify-db-${of} --region ${region} --db-${of}-identifier ${word(identifier)} ` +
    "--enable-iam-database-authentication --apply-immediately";
  const more = `\nit makes at once what waits for the maintenance window as well: ${waiting.join(", ")}`;
  return `IAM authentication is off: ${command}${waiting.length > 0 ? more : ""}`;
};

export const aging = (region: string, instance: string): string =>
  `its certificate is from rds-ca-2019, which ended in 2024: aws rds modify-db-instance --region ${region} ` +
  `--db-instance-identifier ${word(instance)} --ca-certificate-identifier rds-ca-rsa2048-g1 --apply-immediately`;

/** Nothing is sent to a host that is not the service's own (S-35). */
export const foreignHost = ({ name, endpoint, region }: Database, service: string): Failure =>
  new Failure("upstream_untrusted", `${name}: ${endpoint.host} is not an address of ${service} in ${region}`, {
    hint: "run discovery: endpoints come from AWS alone",
  });

/** @throws Failure whatever went wrong */
export const keysOrWhy = (keys: ReturnType<KeyProvider>): ReturnType<KeyProvider> =>
  keys.catch((thrown: unknown) => {
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("unavailable", "there are no AWS keys to log in with", { cause: thrown });
  });

/** The IAM token as the password, signed with the keys that reach the database's account in the person's name. */
export const credentialOf =
  ({ roles, token, turn }: World) =>
  async (database: Database, user: string, person: Person): Promise<Credential> => {
    const { region, assume, endpoint } = database;
    const { host, port } = database.signFor ?? endpoint;
    // the certificate's name too: anybody can have one of Amazon's for a name of their own
    if (![host, endpoint.host, endpoint.verifyName].every((one) => isRdsHost(one, database)))
      throw foreignHost(database, "RDS");
    await turn(database.name);
    const keys = await keysOrWhy(roles.keys({ hops: hopsOf(assume), person: person.user, region }));
    return { as: "password", user, password: await token({ host, port, region, user }, keys), methods: "clear" };
  };
