// Redshift Serverless: each workgroup, and each VPC endpoint of one, which has the workgroup's tags and certificate. The
// database user is an IAM role; GetCredentials, called as that role, gives a user `IAMR:<role>` and its password.
// https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/API_GetCredentials.html
import type { EndpointAccess, Workgroup } from "@aws-sdk/client-redshift-serverless";
import type { Credential } from "@sallyport/core/credential";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { roleArnOf } from "@sallyport/core/iam-role";
import type { Found, Kind, Listing, Sighting } from "@sallyport/core/kind";
import type { Labels } from "@sallyport/core/label";
import { hopsOf } from "../assume.ts";
import { isNowhere } from "../call.ts";
import { isAccessDenied } from "../client.ts";
import { isHostOf } from "../host.ts";
import { foreignHost, judge, keysOrWhy, partsOf, type World } from "../rds.ts";
import { openRedshiftApi } from "../redshift.ts";

const service = "redshift-serverless";
const usable = new Set(["available", "modifying", "active"]);

export const openRedshiftServerless = (world: World & { readonly now: () => number }): Kind => {
  const api = openRedshiftApi(world);
  const { roles } = world;

  const tagsOf = async (listing: Listing, arn: string): Promise<{ tags: Labels; warning?: string }> => {
    try {
      return { tags: await api.tags(listing, arn) };
    } catch (thrown) {
      // without tags it is there for whoever needs none; the run says so
      if (thrown instanceof Failure && isAccessDenied(thrown.cause))
        return { tags: {}, warning: `${arn} is listed without tags: ${thrown.message}\n${thrown.hint ?? ""}` };
      throw thrown;
    }
  };

  async function* discover(listing: Listing): AsyncGenerator<Found> {
    const known = new Map<string, Sighting>();
    for await (const page of api.workgroups(listing)) {
      const sightings: Sighting[] = [];
      const warnings: string[] = [];
      for (const workgroup of page) {
        const { tags, warning } = await tagsOf(listing, workgroup.workgroupArn ?? "");
        if (warning !== undefined) warnings.push(warning);
        const found = workgroupSighting(workgroup, tags, listing);
        if (found.warning !== undefined) warnings.push(found.warning);
        if (!found.sighting) continue;
        known.set(found.sighting.identifier, found.sighting);
        sightings.push(found.sighting);
      }
      yield { sightings, warnings };
    }
    for await (const page of api.endpoints(listing)) {
      const all = page.map((endpoint) => endpointSighting(endpoint, known.get(endpoint.workgroupName ?? "")));
      yield {
        sightings: all.flatMap(({ sighting }) => sighting ?? []),
        warnings: all.flatMap(({ warning }) => warning ?? []),
      };
    }
  }

  const credential = async (database: Database, user: string, person: string, name = ""): Promise<Credential> => {
    const { endpoint, region, assume, externalId, workgroup } = database;
    if (![endpoint.host, endpoint.verifyName].every((host) => isHostOf(service, host, database)))
      throw foreignHost(database, "Redshift Serverless");
    const roleArn = roleArnOf(database, user);
    if (roleArn === undefined || !workgroup)
      throw new Failure("invalid", `expecting name or ARN of an AWS IAM role, not ${JSON.stringify(user)}`, {
        hint: "the database user of Redshift Serverless is a role of its own account",
      });
    await world.turn(database.name);
    const hops = hopsOf(assume, roleArn, assume ? undefined : externalId);
    const keys = { hops, person, region };
    await keysOrWhy(roles.keys(keys));
    const { user: inside, password } = await api.credentials({ keys, workgroup, name, roleArn });
    return { as: "password", user: inside, password, methods: "challenge", help: grantHelp(inside) };
  };

  return {
    name: service,
    credential: (database, user, person, name) => credential(database, user, person.user, name),
    forget: () => {
      roles.forget();
      api.forget();
    },
    async *discover(listing) {
      try {
        yield* discover(listing);
      } catch (thrown) {
        if (!isNowhere(thrown)) throw thrown;
        const warnings = [`Redshift Serverless has no address in ${listing.region}`];
        yield { sightings: [], warnings, incomplete: true };
      }
    },
  };
};

/** What lets a role do something inside. */
const grantHelp = (user: string): string => {
  const quoted = `"${user.replaceAll('"', '""')}"`;
  return (
    `an administrator of the database runs: CREATE USER ${quoted} PASSWORD DISABLE; ` +
    `GRANT USAGE ON SCHEMA public TO ${quoted}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${quoted}`
  );
};

type Seen = { readonly sighting?: Sighting; readonly warning?: string };

const workgroupSighting = (workgroup: Workgroup, tags: Labels, { region }: Listing): Seen => {
  const { workgroupName: name, workgroupArn: arn, workgroupId, namespaceName, customDomainName } = workgroup;
  if (!name || !arn || !workgroupId) return { warning: `a workgroup in ${region} has no name or ARN` };
  const where = partsOf(arn);
  if (where.region !== region) return { warning: `${arn} was listed in ${region}: it is left out` };
  const state = (workgroup.status ?? "").toLowerCase();
  const judged = judge(name, state, usable);
  const { address: host, port, vpcEndpoints } = workgroup.endpoint ?? {};
  const own = host !== undefined && port !== undefined && isHostOf(service, host, where);
  const foreign =
    host !== undefined && !own
      ? `its endpoint ${host} is not an address of Redshift Serverless in ${region}`
      : undefined;
  const reason = foreign ?? judged.reason;
  const vpcId = vpcEndpoints?.[0]?.vpcId;
  const sighting: Sighting = {
    ...where,
    protocol: "postgres",
    arn,
    identifier: name,
    resourceId: workgroupId,
    engine: "redshift",
    engineVersion: workgroup.patchVersion ?? workgroup.workgroupVersion ?? "",
    endpointType: "workgroup",
    state,
    status: foreign === undefined ? judged.status : "unsupported",
    tags,
    workgroup: {
      name,
      ...(namespaceName !== undefined && { namespace: namespaceName }),
      ...(customDomainName !== undefined && { customDomain: customDomainName }),
    },
    ...(reason !== undefined && { reason }),
    ...(vpcId !== undefined && { vpcId }),
    ...(own && { endpoint: { host, port, verifyName: host, roots: "amazon" } }),
  };
  return { sighting, ...(judged.warning !== undefined && { warning: judged.warning }) };
};

/** A VPC endpoint is the workgroup by another address, whose certificate is the workgroup's. */
const endpointSighting = (endpoint: EndpointAccess, of: Sighting | undefined): Seen => {
  const { endpointName: name, endpointArn: arn, address: host, port } = endpoint;
  if (!name || !arn || !of)
    return { warning: `the VPC endpoint ${name ?? ""} of ${endpoint.workgroupName ?? "no workgroup"} is left out` };
  const where = partsOf(arn);
  if (where.region !== of.region || where.account !== of.account)
    return { warning: `${arn} is not of its workgroup's account and region: it is left out` };
  const state = (endpoint.endpointStatus ?? "").toLowerCase();
  const judged = judge(name, state, usable);
  const { endpoint: _, reason: __, vpcId: ___, ...shared } = of;
  const own = host !== undefined && port !== undefined && isHostOf(service, host, where);
  const foreign =
    host !== undefined && !own ? `its endpoint ${host} is not an address of Redshift Serverless` : undefined;
  const worst = of.status === "available" ? judged : of;
  const reason = foreign ?? worst.reason;
  const vpcId = endpoint.vpcEndpoint?.vpcId;
  const sighting: Sighting = {
    ...shared,
    arn,
    suffix: name,
    endpointType: "vpc-endpoint",
    state,
    status: foreign === undefined ? worst.status : "unsupported",
    ...(reason !== undefined && { reason }),
    ...(vpcId !== undefined && { vpcId }),
    ...(own && of.endpoint && { endpoint: { host, port, verifyName: of.endpoint.host, roots: "amazon" } }),
  };
  return { sighting, ...(judged.warning !== undefined && { warning: judged.warning }) };
};
