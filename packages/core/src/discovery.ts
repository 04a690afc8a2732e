// Discovery: what discovery_config and db resources ask for, and the job that makes the table say what AWS says.
// Rules: one failing listing never blocks another; nothing is removed after a listing that did not see everything, or while
// a resource that might ask for it can't be read; a database is written only when it changed, with the epoch's step.
import * as z from "zod";
import type { RunLine } from "./api.ts";
import { type Apply, openCatalog } from "./catalog.ts";
import { type KindName, kinds as kindFacts, kindNames } from "./database.ts";
import type { Enabled } from "./enable.ts";
import { toFailure } from "./failure.ts";
import { fromItem, keys, toItem, walk } from "./family.ts";
import type { Kinds } from "./kind.ts";
import { compileSelector } from "./label.ts";
import { type Candidate, gather, type Seen, type Wanted } from "./listing.ts";
import { Name, Region } from "./name.ts";
import type { Clock, Random, Store } from "./ports.ts";

const matchers = [...new Set(kindNames.map((kind) => kindFacts[kind].matcher))];
const TagSelector = z
  .record(z.string().min(1).max(128), z.union([z.string(), z.array(z.string())]))
  .transform((tags) =>
    Object.fromEntries(Object.entries(tags).map(([key, value]) => [key, typeof value === "string" ? [value] : value])),
  );

const OneMatcher = z.strictObject({
  types: z.array(z.enum(matchers)).min(1),
  regions: z.array(Region).min(1),
  tags: TagSelector.default({ "*": ["*"] }),
  assume_role_arn: z
    .string()
    .regex(/^arn:[a-z-]+:iam::\d{12}:role\/[\w+=,.@/-]+$/)
    .optional(),
  // as STS takes them
  external_id: z
    .string()
    .regex(/^[\w+=,.@:/-]{2,1224}$/)
    .optional(),
  /** Switch IAM authentication on where it is off; the deployment must have opted in too. */
  enable_iam_auth: z.boolean().optional(),
});
export const Matcher = OneMatcher.refine(
  (matcher) => matcher.enable_iam_auth !== true || matcher.assume_role_arn === undefined,
  // one role there serves discovery and the proxies: neither may change databases
  "enable_iam_auth works in the deployment's own account alone: in another one, switch IAM authentication on there",
);
export type Matcher = z.infer<typeof Matcher>;

export const DiscoveryConfigSpec = z.strictObject({ aws: z.array(Matcher).min(1).max(100) });
export const DiscoveryConfig = z.object({
  name: z.string(),
  spec: DiscoveryConfigSpec,
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});
export type DiscoveryConfig = z.infer<typeof DiscoveryConfig>;

/** A `db` resource as it is kept: it names an AWS object, whose endpoint comes from AWS. */
export const DynamicDatabase = z.object({
  name: Name,
  kind: z.enum(kindNames),
  account: z.string().regex(/^\d{12}$/),
  region: Region,
  identifier: z.string().min(1).max(255),
  labels: z.record(z.string(), z.string()).default({}),
  description: z.string().max(500).default(""),
});
export type DynamicDatabase = z.infer<typeof DynamicDatabase>;

/** The kinds a matcher type stands for. */
export const kindsOf = (type: string): readonly KindName[] =>
  kindNames.filter((kind) => kindFacts[kind].matcher === type);

export interface Discovery {
  readonly store: Store;
  readonly kinds: Kinds;
  readonly clock: Clock;
  readonly random: Random;
  /** Says what would be written and removed, and writes nothing. */
  readonly dryRun?: boolean;
  /** Who started it, for the audit. */
  readonly actor?: string;
  /** Switches IAM authentication on where it is asked for; absent where the deployment did not opt in. @throws Failure */
  readonly enable?: () => Promise<readonly Enabled[]>;
}

/** Names a listing: the key of its Run item, and what a database it found is `foundBy`. */
const listingKey = (kind: KindName, region: string, roleArn?: string): string =>
  `${kind}/${region}/${roleArn ?? "self"}`;

interface Asked {
  readonly wanted: readonly Wanted[];
  readonly dynamic: ReadonlySet<string>;
  /** Resources that can't be read, by their name. */
  readonly broken: readonly { readonly listing: string; readonly error: string }[];
}

type Draft = { -readonly [Member in keyof Wanted]: Wanted[Member] };

/** What all resources together ask for, one listing per kind, region and role. */
export const readAsked = async (store: Store): Promise<Asked> => {
  const wanted = new Map<string, Draft>();
  const broken: { listing: string; error: string }[] = [];
  const want = (kind: KindName, region: string, roleArn?: string, externalId?: string) => {
    const key = listingKey(kind, region, roleArn);
    const known = wanted.get(key);
    if (known) {
      if ((known.assume ?? known).externalId === externalId) return known;
      known.warnings = [...known.warnings, `${roleArn ?? key} is named with two external ids: the first is used`];
      return known;
    }
    const id = externalId === undefined ? {} : { externalId };
    const way = roleArn === undefined ? id : { assume: { roleArn, ...id } };
    const fresh: Draft = { key, kind, region, ...way, selectors: [], enabling: [], dynamic: [], warnings: [] };
    wanted.set(key, fresh);
    return fresh;
  };
  const attempt = (listing: string, read: () => void): void => {
    try {
      read();
    } catch (thrown) {
      broken.push({ listing, error: thrown instanceof Error ? thrown.message : "can't be read" });
    }
  };
  for await (const item of walk(store, keys.discoveryConfig("").pk))
    attempt(`discovery_config/${item.sk}`, () => {
      const matchers = fromItem(DiscoveryConfig, item).spec.aws.map((matcher) => ({
        ...matcher,
        selects: compileSelector(matcher.tags),
      }));
      for (const { types, regions, assume_role_arn: role, external_id: externalId, selects, ...more } of matchers)
        for (const kind of types.flatMap(kindsOf))
          for (const region of regions) {
            // without a role to assume it is for the roles of users, which some kinds do not have
            const id = role === undefined && !kindFacts[kind].userIsRole ? undefined : externalId;
            const listing = want(kind, region, role, id);
            listing.selectors = [...listing.selectors, selects];
            if (more.enable_iam_auth) listing.enabling = [...listing.enabling, selects];
          }
    });
  const dynamic = new Set<string>();
  for await (const item of walk(store, keys.dynamicDatabase("").pk))
    attempt(`db/${item.sk}`, () => {
      const database = fromItem(DynamicDatabase, item);
      dynamic.add(database.name);
      const { kind, account, region } = database;
      const through = [...wanted.values()].find(
        (listing) => listing.kind === kind && listing.region === region && accountOf(listing) === account,
      );
      const listing = through ?? wanted.get(listingKey(kind, region)) ?? want(kind, region);
      listing.dynamic = [...listing.dynamic, database];
    });
  return { wanted: [...wanted.values()], dynamic, broken };
};

const accountOf = ({ assume }: Wanted): string | undefined => assume?.roleArn.split(":")[4];

/** Has IAM authentication switched on where it is asked for; what came of it stands with the database and in the run. */
const switchOn = async ({ enable, dryRun }: Discovery, seen: readonly Seen[]): Promise<readonly Seen[]> => {
  if (!seen.some(({ candidates }) => candidates.some((candidate) => candidate.enable))) return seen;
  if (!enable || dryRun)
    return annotate(seen, (database) => ({
      warning: enable
        ? `IAM authentication of ${database.arn} would be switched on`
        : `IAM authentication of ${database.arn} is off, and the deployment has not opted in to switching it on`,
    }));
  const outcomes = await enable().catch((thrown: unknown) => toFailure(thrown).message);
  if (typeof outcomes === "string")
    return annotate(seen, ({ arn }) => ({ warning: `IAM authentication of ${arn} was not switched on: ${outcomes}` }));
  const by = new Map(outcomes.map((outcome) => [outcome.resource, outcome]));
  return annotate(seen, ({ arn, resourceId, foundBy }) => {
    const { outcome, reason = "" } = by.get(resourceId) ?? by.get(foundBy) ?? {};
    if (outcome === "asked") return { reason: "IAM authentication was off and is being switched on" };
    const why = outcome === undefined ? "it was not asked for" : reason;
    const text = `IAM authentication is off, and switching it on failed: ${why}`;
    return { reason: text, warning: `${arn}: ${text}` };
  });
};

/** Adds to each database that is to be switched on what there is to say. */
const annotate = (
  seen: readonly Seen[],
  note: (database: Candidate["database"]) => { readonly reason?: string; readonly warning?: string },
): readonly Seen[] =>
  seen.map((listing) => {
    const notes = listing.candidates.map(({ enable, database }) => (enable ? note(database) : {}));
    const warnings = new Set(notes.flatMap(({ warning }) => warning ?? []));
    return {
      ...listing,
      candidates: listing.candidates.map((candidate, at) => {
        const reason = notes[at]?.reason;
        return reason === undefined ? candidate : { ...candidate, database: { ...candidate.database, reason } };
      }),
      warnings: [...listing.warnings, ...warnings],
    };
  });

/** Lists everything that is asked for and brings the table in line. @throws Failure only when the table can't be read at all */
export const discover = async (job: Discovery): Promise<RunLine[]> => {
  const { store, kinds, clock } = job;
  const asked = await readAsked(store);
  const catalog = await openCatalog(store);
  const found = await Promise.all(asked.wanted.map((one) => gather(kinds[one.kind], one, catalog.lastTags)));
  const seen = await switchOn(job, found);
  const apply: Apply = { ...job, actor: job.actor ?? "discover", mayRemove: asked.broken.length === 0 };
  const lines = await catalog.bringInLine(seen, asked.dynamic, apply);
  for (const { listing, error } of asked.broken) {
    const nothing = { found: 0, written: [], removed: [], warnings: [] };
    lines.push({ line: { listing, at: clock.now(), complete: false, ...nothing, error }, misses: {} });
  }
  if (!job.dryRun)
    for (const { line, misses } of lines)
      await store.write({ put: toItem(keys.run("discovery", line.listing), { ...line, misses }) });
  return lines.map(({ line }) => line);
};
