// RDS instances that are not members of a cluster (PostgreSQL, MySQL, MariaDB): one database each. And Multi-AZ DB clusters
// (PostgreSQL, MySQL): the primary and the reader.
import type { DBInstance } from "@aws-sdk/client-rds";
import type { Found, Kind, Listing, Sighting } from "@sallyport/core/kind";
import { isNowhere } from "../call.ts";
import { foundClusters, openBeside } from "../cluster.ts";
import { instanceEngines, multiAzEngines, tooOld } from "../engine.ts";
import {
  aging,
  credentialOf,
  enableOf,
  endpointOf,
  iamOff,
  isSwitching,
  judge,
  openRdsApi,
  partsOf,
  tagsOf,
  type World,
  waitingIn,
} from "../rds.ts";

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
    enable: enableOf(api),
    async *discover(listing) {
      try {
        const { beside, addMembers } = openBeside();
        for await (const page of api.instances(listing)) {
          addMembers(page);
          yield foundIn(
            page.filter(({ Engine = "", DBClusterIdentifier }) => instanceEngines.has(Engine) && !DBClusterIdentifier),
            listing,
          );
        }
        for await (const page of api.clusters(listing)) yield foundClusters(page, multiAzEngines, listing, beside);
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
  const { Engine: engine = "", EngineVersion: engineVersion = "" } = instance;
  const known = instanceEngines.get(engine);
  if (!identifier || !arn || !resourceId || !known)
    return { warning: `an instance in ${region} has no identifier or ARN` };
  const where = partsOf(arn);
  if (where.region !== region) return { warning: `${arn} was listed in ${region}: it is left out` };
  const state = (instance.DBInstanceStatus ?? "").toLowerCase();
  const judged = judge(identifier, state, usable);
  const { Address: host, Port: port } = instance.Endpoint ?? {};
  const endpoint = endpointOf(host, port, where);
  const unfit =
    host !== undefined && !endpoint
      ? `its endpoint ${host} is not an address of RDS in ${region}`
      : tooOld(engine, known, engineVersion);
  const off = unfit === undefined && !instance.IAMDatabaseAuthenticationEnabled;
  const switching = isSwitching(state, instance.PendingModifiedValues);
  const waiting = waitingIn(instance.PendingModifiedValues);
  const hindrance = unfit ?? (off ? iamOff("instance", region, identifier, switching, waiting) : undefined);
  const aged = instance.CACertificateIdentifier === "rds-ca-2019" ? aging(region, identifier) : undefined;
  const reason = hindrance ?? judged.reason ?? aged;
  const vpcId = instance.DBSubnetGroup?.VpcId;
  const sighting: Sighting = {
    ...where,
    protocol: known.protocol,
    arn,
    identifier,
    resourceId,
    engine,
    engineVersion,
    endpointType: "instance",
    state,
    status: hindrance === undefined ? judged.status : "unsupported",
    tags: tagsOf(instance.TagList),
    ...(reason !== undefined && { reason }),
    ...(vpcId !== undefined && { vpcId }),
    ...(endpoint && { endpoint }),
    ...(off && !switching && waiting.length === 0 && state === "available" && { iamOff: true as const }),
  };
  return { sighting, ...(judged.warning !== undefined && { warning: judged.warning }) };
};
