// One listing of a discovery run: asks a kind for everything in one place and makes of it what the resources ask for.
import type { Assumed, Database, Endpoint, KindName } from "./database.ts";
import type { DynamicDatabase } from "./discovery.ts";
import { toFailure } from "./failure.ts";
import type { Kind, Sighting } from "./kind.ts";
import type { Labels } from "./label.ts";
import { labelsOf, namesOf } from "./naming.ts";
import { defaultNetwork } from "./network.ts";

/** What is asked of one listing. */
export interface Wanted {
  readonly key: string;
  readonly kind: KindName;
  readonly region: string;
  readonly assume?: Assumed;
  /** For the users' own roles, where no role is assumed before them. */
  readonly externalId?: string;
  /** Does an object with these tags count? Any one of them is enough. */
  readonly selectors: readonly ((tags: Labels) => boolean)[];
  /** Those whose IAM authentication is to be switched on where it is off. */
  readonly enabling: readonly ((tags: Labels) => boolean)[];
  /** Objects that count by their name, whatever their tags. */
  readonly dynamic: readonly DynamicDatabase[];
  readonly warnings: readonly string[];
}

/** A database to be, before it is settled which of its names it gets. */
export interface Candidate {
  /** Stays the same as long as it is the same thing: an endpoint of an AWS object, or of a `db` resource. */
  readonly identity: string;
  readonly names: readonly string[];
  readonly database: Omit<Database, "name" | "endpoint"> & { readonly endpoint?: Endpoint };
  /** Its IAM authentication is off, can be switched on, and a matcher asks for that. */
  readonly enable?: true;
}

export interface Seen {
  readonly key: string;
  readonly candidates: readonly Candidate[];
  readonly warnings: readonly string[];
  /** Nothing was overlooked: what is not among the candidates is not there. */
  readonly complete: boolean;
  readonly error?: string;
}

/** Of a stored database, the identity that its candidate would have. */
export const identityOf = ({
  origin,
  name,
  arn,
  labels,
}: Pick<Database, "origin" | "name" | "arn" | "labels">): string =>
  origin === "dynamic" ? `db ${name}` : `${arn} ${labels["endpoint-type"]}`;

/** Is it of another account than the role that lists it? Then it is not that account's to show, whatever its tags (S-07). */
export const foreignTo = ({ assume }: Pick<Wanted, "assume">, { account }: Pick<Sighting, "account">): boolean =>
  assume !== undefined && assume.roleArn.split(":")[4] !== account;

/** The tags that a thing had when they were last told; undefined for one that is not known. */
export type LastTags = (identity: string) => Labels | undefined;

/** Never rejects: a listing that fails says so, with what it found until then. */
export const gather = async (kind: Kind, wanted: Wanted, last: LastTags): Promise<Seen> => {
  const candidates: Candidate[] = [];
  const warnings: string[] = [...wanted.warnings];
  const found = new Set<string>();
  const { key, region, assume } = wanted;
  try {
    let complete = true;
    for await (const page of kind.discover({ region, ...(assume && { assume }) })) {
      warnings.push(...page.warnings);
      if (page.incomplete) complete = false;
      for (const sighting of page.sightings) {
        if (foreignTo(wanted, sighting)) {
          warnings.push(`${sighting.arn} is not of the account that was asked: it is left out`);
          continue;
        }
        const told = tagged(sighting, cloudIdentity(sighting), last);
        if (!told) warnings.push(untold(sighting));
        else if (wanted.selectors.some((selects) => selects(told.tags))) {
          const { names, warnings: unnamed } = namesOf(kind.name, told);
          warnings.push(...unnamed);
          candidates.push(candidateOf(wanted, told, { origin: "cloud", names }));
        }
        for (const resource of wanted.dynamic.filter((one) => isNamedBy(sighting, one))) {
          found.add(resource.name);
          const named = tagged(sighting, dynamicIdentity(sighting, resource), last);
          if (named) candidates.push(dynamicOf(wanted, named, resource));
          else warnings.push(untold(sighting));
        }
      }
    }
    const missing = wanted.dynamic.filter(({ name }) => complete && !found.has(name));
    warnings.push(
      ...missing.map(
        (one) => `db ${one.name}: there is no ${one.kind} ${one.identifier} in ${one.account} ${one.region}`,
      ),
    );
    return { key, candidates, warnings, complete };
  } catch (thrown) {
    const { message, hint } = toFailure(thrown);
    return { key, candidates, warnings, complete: false, error: hint === undefined ? message : `${message}\n${hint}` };
  }
};

const isNamedBy = (sighting: Sighting, { account, identifier }: DynamicDatabase): boolean =>
  sighting.account === account && sighting.identifier.toLowerCase() === identifier.toLowerCase();

const wholeName = ({ suffix }: Sighting, { name }: DynamicDatabase): string =>
  suffix === undefined ? name : `${name}-${suffix}`;

const dynamicOf = (wanted: Wanted, sighting: Sighting, resource: DynamicDatabase): Candidate => {
  const { labels, description } = resource;
  return candidateOf(wanted, sighting, {
    origin: "dynamic",
    names: [wholeName(sighting, resource)],
    labels,
    description,
  });
};

const cloudIdentity = ({ arn, endpointType }: Sighting): string =>
  identityOf({ origin: "cloud", name: "", arn, labels: { "endpoint-type": endpointType } });
const dynamicIdentity = (sighting: Sighting, resource: DynamicDatabase): string =>
  identityOf({ origin: "dynamic", name: wholeName(sighting, resource), arn: sighting.arn, labels: {} });

/** With the last known tags where AWS withholds them: without, nobody could say whom it is denied to. */
const tagged = (sighting: Sighting, identity: string, last: LastTags): Sighting | undefined => {
  if (!sighting.withheld) return sighting;
  const tags = last(identity);
  return tags && { ...sighting, tags };
};
const untold = ({ arn, state }: Sighting): string =>
  `${arn} is not registered yet: AWS does not tell its tags while it is ${state}`;

const candidateOf = (
  { kind, key, assume, externalId, enabling }: Wanted,
  sighting: Sighting,
  given: {
    readonly origin: "cloud" | "dynamic";
    readonly names: readonly string[];
    readonly labels?: Labels;
    readonly description?: string;
  },
): Candidate => {
  const { origin, names, description = "" } = given;
  const labels = labelsOf(kind, sighting, origin, given.labels);
  const { protocol, status, reason, arn, partition, account, region, identifier, resourceId } = sighting;
  const { signFor, vpcId, endpoint, iamOff, tags, workgroup } = sighting;
  return {
    names,
    ...(iamOff && enabling.some((selects) => selects(tags)) && { enable: true as const }),
    identity: identityOf({ origin, name: names[0] ?? "", arn, labels }),
    database: {
      kind,
      protocol,
      description,
      labels,
      status,
      ...(reason !== undefined && { reason }),
      arn,
      partition,
      account,
      region,
      identifier,
      resourceId,
      ...(endpoint && { endpoint }),
      ...(signFor && { signFor }),
      ...(vpcId !== undefined && { vpcId }),
      network: defaultNetwork,
      ...(assume && { assume }),
      ...(externalId !== undefined && { externalId }),
      ...(workgroup && { workgroup }),
      origin,
      foundBy: key,
    },
  };
};
