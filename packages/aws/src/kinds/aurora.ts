// Aurora clusters (PostgreSQL, MySQL): the primary when there is a writer, the reader when there is one, and each custom
// endpoint. A custom endpoint is dialled by its own name and verified, and its token signed, by the cluster's.
import type { Kind } from "@sallyport/core/kind";
import { isNowhere } from "../call.ts";
import { foundClusters, openBeside } from "../cluster.ts";
import { auroraEngines } from "../engine.ts";
import { credentialOf, enableOf, openRdsApi, type World } from "../rds.ts";

export const openAurora = (world: World): Kind => {
  const api = openRdsApi(world);
  return {
    name: "aurora",
    credential: credentialOf(world),
    enable: enableOf(api),
    async *discover(listing) {
      try {
        const { beside, addMembers, addEndpoints } = openBeside();
        for await (const page of api.instances(listing)) addMembers(page);
        for await (const page of api.endpoints(listing)) addEndpoints(page);
        for await (const page of api.clusters(listing)) yield foundClusters(page, auroraEngines, listing, beside);
      } catch (thrown) {
        if (!isNowhere(thrown)) throw thrown;
        yield { sightings: [], warnings: [`RDS has no address in ${listing.region}`], incomplete: true };
      }
    },
  };
};
