// RDS PostgreSQL instances that are not members of a cluster: one database each.
import type { DBInstance } from "@aws-sdk/client-rds";
import type { Found, Kind, Listing, Sighting } from "@sallyport/core/kind";
import { credentialOf, endpointOf, isNowhere, judge, openRdsApi, partsOf, tagsOf, type World } from "../rds.ts";

// the API is asked for all engines: naming one that a region does not know fails the whole listing
const engine = "postgres";

const usable = new Set([
  ...["available", "backing-up", "configuring-enhanced-monitoring", "configuring-iam-database-auth"],
  ...["configuring-log-exports", "converting-to-vpc", "incompatible-option-group", "incompatible-parameters"],
  ...["maintenance", "modifying", "moving-to-vpc", "rebooting", "renaming", "resetting-master-credentials"],
  ...["restore-error", "storage-config-upgrade", "storage-full", "storage-initialization", "storage-optimization"],
  ...["upgrading"],
]);

export const openRds = (world: World): Kind => {
  const api = openRdsApi(world);
  return {
    name: "rds",
    credential: credentialOf(world),
    async *discover(listing) {
      try {
        for await (const page of api.instances(listing))
          yield foundIn(
            page.filter((instance) => instance.Engine === engine && !instance.DBClusterIdentifier),
            listing,
          );
      } catch (thrown) {
        if (!isNowhere(thrown)) throw thrown;
        yield { sightings: [], warnings: [`RDS has no address in ${listing.region}`], incomplete: true };
      }
    },
  };
};

const foundIn = (instances: readonly DBInstance[], listing: Listing): Found => {
  const all = instances.map((instance) => sightingOf(instance, listing));
  return {
    sightings: all.flatMap(({ sighting }) => sighting ?? []),
    warnings: all.flatMap(({ warning }) => warning ?? []),
  };
};

const sightingOf = (instance: DBInstance, { region }: Listing): { sighting?: Sighting; warning?: string } => {
  const { DBInstanceIdentifier: identifier, DBInstanceArn: arn, DbiResourceId: resourceId } = instance;
  if (!identifier || !arn || !resourceId) return { warning: `an instance in ${region} has no identifier or ARN` };
  const where = partsOf(arn);
  if (where.region !== region) return { warning: `${arn} was listed in ${region}: it is left out` };
  const state = (instance.DBInstanceStatus ?? "").toLowerCase();
  const judged = judge(identifier, state, usable);
  const address = instance.Endpoint;
  const endpoint = endpointOf(address?.Address, address?.Port, where);
  const hindrance = hindranceOf(instance, region, address?.Address !== undefined && !endpoint);
  const reason = hindrance ?? judged.reason ?? aging(instance, region);
  const vpcId = instance.DBSubnetGroup?.VpcId;
  const sighting: Sighting = {
    ...where,
    protocol: "postgres",
    arn,
    identifier,
    resourceId,
    engine,
    engineVersion: instance.EngineVersion ?? "",
    endpointType: "instance",
    state,
    status: hindrance === undefined ? judged.status : "unsupported",
    tags: tagsOf(instance.TagList),
    ...(reason !== undefined && { reason }),
    ...(vpcId !== undefined && { vpcId }),
    ...(endpoint && { endpoint }),
  };
  return { sighting, ...(judged.warning !== undefined && { warning: judged.warning }) };
};

/** What keeps it from being reached until somebody changes it, and how. */
const hindranceOf = (instance: DBInstance, region: string, foreign: boolean): string | undefined => {
  if (foreign) return `its endpoint ${instance.Endpoint?.Address} is not an address of RDS in ${region}`;
  if (instance.IAMDatabaseAuthenticationEnabled) return undefined;
  const fix = `aws rds modify-db-instance --region ${region} --db-instance-identifier ${instance.DBInstanceIdentifier}`;
  return `IAM authentication is off: ${fix} --enable-iam-database-authentication --apply-immediately`;
};

const aging = ({ CACertificateIdentifier, DBInstanceIdentifier }: DBInstance, region: string): string | undefined =>
  CACertificateIdentifier === "rds-ca-2019"
    ? `its certificate is from rds-ca-2019, which ended in 2024: aws rds modify-db-instance --region ${region} ` +
      `--db-instance-identifier ${DBInstanceIdentifier} --ca-certificate-identifier rds-ca-rsa2048-g1 --apply-immediately`
    : undefined;
