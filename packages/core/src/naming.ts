// The name and labels of a database, from what AWS says of it. Pure.
// `<name>-<type>[-aurora]-<region>-<account>`; a tag may replace the first part and then stops the suffixes, and no tag ever
// replaces a label that is derived here (S-07): who may tag a database must not be able to say what it is.
import { type KindName, kinds } from "./database.ts";
import type { Sighting } from "./kind.ts";
import type { Labels } from "./label.ts";
import { Name } from "./name.ts";

/** The first one that is there counts. */
export const nameTags = ["SallyportDatabaseName", "TeleportDatabaseName", "teleport.dev/database_name"] as const;

const reservedPrefix = "sallyport/";
const derived = new Set([
  "account-id",
  "region",
  "engine",
  "engine-version",
  "endpoint-type",
  "vpc-id",
  "status",
  "namespace",
  "workgroup",
  "cluster",
]);

/** A label that only Sallyport may set, whether or not it does for this database. */
export const isReserved = (label: string): boolean =>
  derived.has(label) || label.startsWith(reservedPrefix) || label === "__proto__";

const cleaned = (part: string): string =>
  part
    .replace(/\s+/g, "-")
    .replace(/-{2,}/g, "-")
    .replace(/^-+|-+$/g, "");

/** Parts joined by hyphens; one that is blank or in the name already is skipped. */
const joined = (parts: readonly string[]): string =>
  parts
    .map(cleaned)
    .reduce(
      (name, part) => (part === "" || `-${name}-`.includes(`-${part}-`) ? name : name ? `${name}-${part}` : part),
      "",
    );

const overrideOf = (tags: Labels): string | undefined => {
  const tag = nameTags.find((candidate) => Object.hasOwn(tags, candidate));
  return tag === undefined ? undefined : cleaned(tags[tag] ?? "");
};

/** The names it may have, the best first: with a name from a tag, also that name made unique by region and account; for a Multi-AZ cluster, which may be called like an instance, also one that says what it is. */
export const namesOf = (
  kind: KindName,
  sighting: Sighting,
): { names: readonly string[]; warnings: readonly string[] } => {
  const { identifier, suffix = "", region, account, tags } = sighting;
  const type = kinds[kind].matcher;
  const first = `${cleaned(identifier)}-${suffix}`;
  const whole = joined([first, type, kind === type ? "" : kind, region, account]);
  const more =
    kind === "rds" && sighting.cluster !== undefined ? [joined([`${first}-cluster`, type, region, account])] : [];
  const override = overrideOf(tags);
  if (override === undefined) return { names: [whole, ...more], warnings: [] };
  const short = cleaned(`${override}-${suffix}`);
  if (override !== "" && Name.safeParse(short).success)
    return { names: [short, joined([short, region, account])], warnings: [] };
  return { names: [whole, ...more], warnings: [`${identifier}: the name in its tag is not a name and is not used`] };
};

/** Tags, then what an administrator adds, then what is derived: the later wins. */
export const labelsOf = (kind: KindName, sighting: Sighting, origin: string, added: Labels = {}): Labels => {
  const free = Object.entries({ ...sighting.tags, ...added }).filter(([label]) => !isReserved(label));
  return Object.fromEntries([
    ...free,
    ["account-id", sighting.account],
    ["region", sighting.region],
    ["engine", sighting.engine],
    ["engine-version", sighting.engineVersion],
    ["endpoint-type", sighting.endpointType],
    ["status", sighting.state],
    ...(sighting.vpcId === undefined ? [] : [["vpc-id", sighting.vpcId]]),
    ...(sighting.cluster === undefined ? [] : [["cluster", sighting.cluster]]),
    ...(sighting.workgroup === undefined ? [] : [["workgroup", sighting.workgroup.name]]),
    ...(sighting.workgroup?.namespace === undefined ? [] : [["namespace", sighting.workgroup.namespace]]),
    ["sallyport/origin", origin],
    ["sallyport/kind", kind],
  ]);
};
