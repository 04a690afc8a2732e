// Kinds whose AWS is a list in memory: pages, failures in the middle, regions without the service.
import type { KindName } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Found, Kinds, Listing, Sighting } from "@sallyport/core/kind";

type Page = Partial<Found> | Failure;
/** What each place answers, page by page; a Failure ends the listing there. */
export type World = Map<string, readonly Page[]>;

const placeOf = (kind: KindName, { region, assume }: Listing): string =>
  `${kind}/${region}/${assume?.roleArn ?? "self"}`;

export const openFakeKinds = (world: World): Kinds & { readonly asked: Listing[] } => {
  const asked: Listing[] = [];
  const kind = (name: KindName) => ({
    name,
    async *discover(listing: Listing) {
      asked.push(listing);
      for (const page of world.get(placeOf(name, listing)) ?? []) {
        if (page instanceof Failure) throw page;
        yield { sightings: [], warnings: [], ...page };
      }
    },
    credential: () => Promise.reject(new Failure("unsupported", "the fake logs nobody in")),
  });
  return {
    rds: kind("rds"),
    aurora: kind("aurora"),
    "redshift-serverless": kind("redshift-serverless"),
    documentdb: kind("documentdb"),
    elasticache: kind("elasticache"),
    "elasticache-serverless": kind("elasticache-serverless"),
    memorydb: kind("memorydb"),
    asked,
  };
};

export const makeSighting = (identifier: string, over: Partial<Sighting> = {}): Sighting => {
  const { region = "eu-west-1", account = "111122223333" } = over;
  const host = `${identifier}.abc.${region}.rds.amazonaws.com`;
  return {
    protocol: "postgres",
    arn: `arn:aws:rds:${region}:${account}:db:${identifier}`,
    partition: "aws",
    account,
    region,
    identifier,
    resourceId: `db-${identifier.toUpperCase()}`,
    status: "available",
    engine: "postgres",
    engineVersion: "17.6",
    endpointType: "instance",
    state: "available",
    tags: {},
    endpoint: { host, port: 5432, verifyName: host, roots: "rds" },
    ...over,
  };
};
