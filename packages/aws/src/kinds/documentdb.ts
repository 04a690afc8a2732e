// DocumentDB clusters of instances, version 5.0 and later: the primary and the reader. The database user is an IAM role, which
// answers MONGODB-AWS by signing a GetCallerIdentity that the server shows to STS. Elastic clusters have an API of their own and
// never come up here; whether a cluster has TLS off is known at the first connection only, which is then refused.
// https://docs.aws.amazon.com/documentdb/latest/developerguide/iam-identity-auth.html
import type { Credential } from "@sallyport/core/credential";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { roleArnOf } from "@sallyport/core/iam-role";
import type { Kind } from "@sallyport/core/kind";
import { secret } from "@sallyport/core/secret";
import { hopsOf } from "../assume.ts";
import { isNowhere } from "../call.ts";
import { foundClusters, openBeside } from "../cluster.ts";
import { documentEngines } from "../engine.ts";
import { isHostOf, stsHosts } from "../host.ts";
import { foreignHost, keysOrWhy, openRdsApi, type World } from "../rds.ts";
import { openSigner } from "../sigv4.ts";

const service = "docdb";
const body = "Action=GetCallerIdentity&Version=2011-06-15";

export const openDocumentdb = (world: World & { readonly now: () => number }): Kind => {
  const api = openRdsApi(world);
  const { roles, now } = world;

  const credential = async (database: Database, user: string, person: string): Promise<Credential> => {
    const { endpoint, region, assume, externalId, name } = database;
    if (![endpoint.host, endpoint.verifyName].every((host) => isHostOf(service, host, database)))
      throw foreignHost(database, "DocumentDB");
    const roleArn = roleArnOf(database, user);
    if (roleArn === undefined)
      throw new Failure("invalid", `expecting name or ARN of an AWS IAM role, not ${JSON.stringify(user)}`, {
        hint: "the database user of DocumentDB is a role of its own account",
      });
    await world.turn(name);
    const hops = hopsOf(assume, roleArn, assume ? undefined : externalId);
    const find = () => keysOrWhy(roles.keys({ hops, person, region }));
    await find();
    return {
      as: "aws",
      user: roleArn,
      help: userHelp(roleArn),
      sign: async (nonce, host) => {
        if (!stsHosts(database).includes(host))
          throw new Failure(
            "upstream_untrusted",
            `${name} wants a signature for ${JSON.stringify(host.slice(0, 100))}`,
            {
              hint: "it must be for STS of the database's own region: look at what stands at the endpoint",
            },
          );
        const keys = await find();
        const headers = {
          "content-length": String(body.length),
          "content-type": "application/x-www-form-urlencoded",
          host,
          "x-mongodb-gs2-cb-flag": "n",
          "x-mongodb-server-nonce": Buffer.from(nonce).toString("base64"),
        };
        // without a region in its name STS is the first one's
        const sign = openSigner({ region: host === "sts.amazonaws.com" ? "us-east-1" : region, service: "sts" });
        const { authorization = "", "x-amz-date": date = "" } = sign({ path: "/", headers, body }, keys, now());
        const { sessionToken } = keys;
        return { authorization, date, ...(sessionToken !== undefined && { sessionToken: secret(sessionToken) }) };
      },
    };
  };

  return {
    name: "documentdb",
    credential: (database, user, person) => credential(database, user, person.user),
    forget: () => roles.forget(),
    async *discover(listing) {
      try {
        const { beside } = openBeside();
        for await (const page of api.clusters(listing)) yield foundClusters(page, documentEngines, listing, beside);
      } catch (thrown) {
        if (!isNowhere(thrown)) throw thrown;
        yield { sightings: [], warnings: [`DocumentDB has no address in ${listing.region}`], incomplete: true };
      }
    },
  };
};

/** The role is let in once the database knows it. */
const userHelp = (roleArn: string): string =>
  `an administrator of the database runs: db.getSiblingDB("$external").runCommand({createUser: ${JSON.stringify(roleArn)}, ` +
  `mechanisms: ["MONGODB-AWS"], roles: [{role: "readWrite", db: "<name>"}]})`;
