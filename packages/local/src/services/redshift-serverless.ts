// Redshift Serverless: workgroups and VPC endpoints as they are listed, and temporary credentials that the laptop's PostgreSQL
// behind its front honours until they end.
// https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/Welcome.html
import { createHash, randomBytes } from "node:crypto";
import * as redshift from "@aws-sdk/client-redshift-serverless";
import { type Secret, secret } from "@sallyport/core/secret";
import type { Identity } from "../account.ts";
import { type Api, type Call, operation, perRegion, sdkApi, unused } from "../api.ts";
import { Refusal } from "../refusal.ts";
import type { Where } from "./rds.ts";

export interface WorkgroupSpec {
  readonly name: string;
  readonly namespace?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly status?: redshift.WorkgroupStatus;
  readonly customDomainName?: string;
  readonly port?: number;
  readonly vpcId?: string;
  /** Anything else the API should show. */
  readonly fields?: Partial<redshift.Workgroup>;
}

/** A password that was given out, and where it opens. */
export interface Temporary {
  readonly user: string;
  readonly password: Secret;
  /** The only database it is for; any when nothing was named. */
  readonly database: string | undefined;
  readonly expiresAt: number;
}

interface Region {
  readonly workgroups: Map<string, redshift.Workgroup>;
  readonly tags: Map<string, Readonly<Record<string, string>>>;
  readonly endpoints: Map<string, redshift.EndpointAccess>;
  readonly issued: Map<string, Temporary[]>;
}

export interface RedshiftServerless {
  readonly api: Api;
  addWorkgroup(where: Where, spec: WorkgroupSpec): redshift.Workgroup;
  addEndpoint(
    where: Where,
    spec: { name: string; workgroup: string; vpcId?: string; port?: number },
  ): redshift.EndpointAccess;
  change(where: Where, name: string, fields: Partial<redshift.Workgroup>): void;
  remove(where: Where, name: string): void;
  /** What opens this workgroup now. */
  temporary(where: Where, workgroup: string): readonly Temporary[];
}

export const openRedshiftServerless = (now: () => number = Date.now): RedshiftServerless => {
  const regionOf = perRegion(
    (): Region => ({ workgroups: new Map(), tags: new Map(), endpoints: new Map(), issued: new Map() }),
  );
  const workgroupNamed = (where: Where, name = ""): redshift.Workgroup => {
    const found = regionOf(where).workgroups.get(name);
    if (!found) throw new Refusal("ResourceNotFoundException", `Workgroup ${name} not found.`, 400);
    return found;
  };
  const endpointNamed = (where: Where, name = ""): redshift.EndpointAccess => {
    const found = regionOf(where).endpoints.get(name);
    if (!found) throw new Refusal("ResourceNotFoundException", `Endpoint access ${name} not found.`, 400);
    return found;
  };
  const asked = (input: redshift.GetCredentialsRequest, call: Call): redshift.Workgroup | undefined => {
    const { workgroups } = regionOf(call);
    const { workgroupName, customDomainName } = input;
    if (workgroupName !== undefined) return workgroups.get(workgroupName);
    return [...workgroups.values()].find(
      (one) => customDomainName !== undefined && one.customDomainName === customDomainName,
    );
  };

  const getCredentials = (input: redshift.GetCredentialsRequest, call: Call): redshift.GetCredentialsResponse => {
    const seconds = input.durationSeconds ?? 900;
    if (seconds < 900 || seconds > 3600)
      throw new Refusal("ValidationException", "durationSeconds must be between 900 and 3600", 400);
    if (!input.workgroupName === !input.customDomainName)
      throw new Refusal("ValidationException", "Specify either workgroupName or customDomainName.", 400);
    const name = asked(input, call)?.workgroupName;
    if (name === undefined) throw new Refusal("ResourceNotFoundException", "Workgroup not found.", 400);
    const { issued } = regionOf(call);
    const expiresAt = call.at + seconds * 1000;
    const password = secret(randomBytes(48).toString("base64"));
    const user = insideName(call.identity);
    const still = (issued.get(name) ?? []).filter((one) => one.expiresAt > call.at);
    issued.set(name, [...still, { user, password, database: input.dbName, expiresAt }]);
    const nextRefreshTime = new Date(expiresAt - (seconds * 1000) / 2);
    return { dbUser: user, dbPassword: password.reveal(), expiration: new Date(expiresAt), nextRefreshTime };
  };

  const api = sdkApi({
    name: "redshift-serverless",
    client: new redshift.RedshiftServerlessClient(unused),
    module: redshift,
    throttle: { code: "ThrottlingException", message: "Rate exceeded", status: 400 },
    operations: {
      ListWorkgroups: operation<redshift.ListWorkgroupsRequest>({
        needs: (_, call) => [{ action: "redshift-serverless:ListWorkgroups", resource: arn(call, "workgroup", "*") }],
        run: (input, call) => {
          const { items, nextToken } = paged(
            [...regionOf(call).workgroups.values()],
            input,
            (one) => one.workgroupName,
          );
          return { workgroups: items, nextToken };
        },
      }),
      GetWorkgroup: operation<redshift.GetWorkgroupRequest>({
        needs: (input, call) => [
          {
            action: "redshift-serverless:GetWorkgroup",
            resource:
              regionOf(call).workgroups.get(input.workgroupName ?? "")?.workgroupArn ?? arn(call, "workgroup", "*"),
          },
        ],
        run: (input, call) => ({ workgroup: workgroupNamed(call, input.workgroupName) }),
      }),
      ListEndpointAccess: operation<redshift.ListEndpointAccessRequest>({
        needs: (_, call) => [
          { action: "redshift-serverless:ListEndpointAccess", resource: arn(call, "managedvpcendpoint", "*") },
        ],
        run: (input, call) => {
          const all = [...regionOf(call).endpoints.values()].filter(
            (one) =>
              (input.workgroupName === undefined || one.workgroupName === input.workgroupName) &&
              (input.vpcId === undefined || one.vpcEndpoint?.vpcId === input.vpcId),
          );
          const { items, nextToken } = paged(all, input, (one) => one.endpointName);
          return { endpoints: items, nextToken };
        },
      }),
      GetEndpointAccess: operation<redshift.GetEndpointAccessRequest>({
        needs: (input, call) => [
          {
            action: "redshift-serverless:GetEndpointAccess",
            resource:
              regionOf(call).endpoints.get(input.endpointName ?? "")?.endpointArn ??
              arn(call, "managedvpcendpoint", "*"),
          },
        ],
        run: (input, call) => ({ endpoint: endpointNamed(call, input.endpointName) }),
      }),
      ListTagsForResource: operation<redshift.ListTagsForResourceRequest>({
        needs: (input) => [{ action: "redshift-serverless:ListTagsForResource", resource: input.resourceArn ?? "" }],
        run: (input, call) => {
          const tags = regionOf(call).tags.get(input.resourceArn ?? "");
          if (!tags) throw new Refusal("ResourceNotFoundException", "The resource does not exist.", 400);
          return { tags: Object.entries(tags).map(([key, value]) => ({ key, value })) };
        },
      }),
      GetCredentials: operation<redshift.GetCredentialsRequest>({
        needs: (input, call) => [
          {
            action: "redshift-serverless:GetCredentials",
            resource: asked(input, call)?.workgroupArn ?? arn(call, "workgroup", "*"),
          },
        ],
        run: getCredentials,
      }),
    },
  });

  return {
    api,
    addWorkgroup(where, spec) {
      const region = regionOf(where);
      if (region.workgroups.has(spec.name)) throw new Error(`workgroup ${spec.name} exists already`);
      const workgroup = workgroupOf(where, spec, now());
      region.workgroups.set(spec.name, workgroup);
      region.tags.set(workgroup.workgroupArn ?? "", spec.tags ?? {});
      return workgroup;
    },
    addEndpoint(where, { name, workgroup, vpcId = "vpc-0fedcba9876543210", port }) {
      const of = workgroupNamed(where, workgroup);
      const id = uuidOf(where, "endpoint", name);
      const endpoint: redshift.EndpointAccess = {
        endpointName: name,
        endpointArn: arn(where, "managedvpcendpoint", id),
        endpointStatus: "ACTIVE",
        endpointCreateTime: new Date(now()),
        workgroupName: workgroup,
        port: port ?? of.endpoint?.port,
        address: `${name}-endpoint-${id.slice(0, 8)}.${where.accountId}.${where.region}.redshift-serverless.amazonaws.com`,
        vpcEndpoint: { vpcEndpointId: `vpce-${id.slice(0, 8)}`, vpcId, networkInterfaces: [] },
      };
      regionOf(where).endpoints.set(name, endpoint);
      return endpoint;
    },
    change(where, name, fields) {
      regionOf(where).workgroups.set(name, { ...workgroupNamed(where, name), ...fields });
    },
    remove(where, name) {
      const region = regionOf(where);
      region.workgroups.delete(name);
      for (const [id, { workgroupName }] of region.endpoints) if (workgroupName === name) region.endpoints.delete(id);
    },
    temporary: (where, workgroup) =>
      (regionOf(where).issued.get(workgroup) ?? []).filter(({ expiresAt }) => expiresAt > now()),
  };
};

/** What AWS calls a caller inside the database: `IAMR:` and the role, `IAM:` and the user. */
const insideName = ({ session, principalArn }: Identity): string =>
  `${session ? "IAMR" : "IAM"}:${principalArn.slice(principalArn.lastIndexOf("/") + 1)}`;

const workgroupOf = (where: Where, spec: WorkgroupSpec, at: number): redshift.Workgroup => {
  const id = uuidOf(where, "workgroup", spec.name);
  const port = spec.port ?? 5439;
  return {
    workgroupId: id,
    workgroupArn: arn(where, "workgroup", id),
    workgroupName: spec.name,
    namespaceName: spec.namespace ?? spec.name,
    baseCapacity: 8,
    enhancedVpcRouting: false,
    status: spec.status ?? "AVAILABLE",
    publiclyAccessible: false,
    creationDate: new Date(at),
    port,
    workgroupVersion: "1.0",
    patchVersion: "1.0.122103",
    endpoint: {
      address: `${spec.name}.${where.accountId}.${where.region}.redshift-serverless.amazonaws.com`,
      port,
      vpcEndpoints: [
        {
          vpcEndpointId: `vpce-${id.slice(0, 8)}`,
          vpcId: spec.vpcId ?? "vpc-0123456789abcdef0",
          networkInterfaces: [],
        },
      ],
    },
    ...(spec.customDomainName !== undefined && { customDomainName: spec.customDomainName }),
    ...spec.fields,
  };
};

const arn = (where: Where, type: string, id: string): string =>
  `arn:aws:redshift-serverless:${where.region}:${where.accountId}:${type}/${id}`;

/** Stable, so that a restarted demo finds what it knew. */
const uuidOf = ({ accountId, region }: Where, kind: string, name: string): string =>
  createHash("sha256")
    .update(`${accountId}/${region}/${kind}/${name}`)
    .digest("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");

/** One page in the order of names; the token names the last one given. */
const paged = <Item>(
  items: readonly Item[],
  { maxResults = 100, nextToken }: { maxResults?: number | undefined; nextToken?: string | undefined },
  nameOf: (item: Item) => string | undefined,
): { items: Item[]; nextToken?: string } => {
  if (maxResults < 1 || maxResults > 100)
    throw new Refusal("ValidationException", "maxResults must be between 1 and 100", 400);
  const after = nextToken === undefined ? "" : Buffer.from(nextToken, "base64url").toString();
  const left = items
    .map((item) => ({ item, name: nameOf(item) ?? "" }))
    .filter(({ name }) => name > after)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const taken = left.slice(0, maxResults);
  const last = taken.at(-1);
  return {
    items: taken.map(({ item }) => item),
    ...(left.length > taken.length && last && { nextToken: Buffer.from(last.name).toString("base64url") }),
  };
};
