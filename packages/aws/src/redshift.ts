// The API of Redshift Serverless: listings page by page, tags, and temporary credentials in a role's own name.
// Rule: credentials are one person's, for one workgroup and one database name; one call is in flight for each, and what is kept
// is dropped five minutes before it ends.
import {
  type EndpointAccess,
  GetCredentialsCommand,
  ListEndpointAccessCommand,
  ListTagsForResourceCommand,
  ListWorkgroupsCommand,
  RedshiftServerlessClient,
  type Workgroup,
} from "@aws-sdk/client-redshift-serverless";
import type { Workgroup as Known } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Listing } from "@sallyport/core/kind";
import type { Labels } from "@sallyport/core/label";
import { type Secret, secret } from "@sallyport/core/secret";
import type { KeysFor } from "./assume.ts";
import { wordCall } from "./call.ts";
import { clientOptions, errorName, isAccessDenied } from "./client.ts";
import { openClients, pages } from "./page.ts";
import type { World } from "./rds.ts";

export interface CredentialsFor {
  readonly keys: KeysFor;
  readonly workgroup: Known;
  /** Of the database; empty: the workgroup's own default. */
  readonly name: string;
  /** Whose permission it is, for the words. */
  readonly roleArn: string;
}
interface Issued {
  readonly user: string;
  readonly password: Secret;
  readonly expiresAt: number;
}

const pageSize = 100;
const lastsFor = 900;
const dropBefore = 5 * 60_000;
const mostKept = 10_000;
const throttled = ["ThrottlingException", "TooManyRequestsException", "Throttling", "ServiceQuotaExceededException"];

export const openRedshiftApi = ({ connection, roles, now }: World & { readonly now: () => number }) => {
  const clientFor = openClients({ connection, roles }, (options) => new RedshiftServerlessClient(options));
  const at = (nextToken: string | undefined) => ({
    maxResults: pageSize,
    ...(nextToken !== undefined && { nextToken }),
  });

  const issue = async ({ keys, workgroup, name, roleArn }: CredentialsFor): Promise<Issued> => {
    const client = new RedshiftServerlessClient(
      clientOptions({ ...connection, region: keys.region, keys: () => roles.keys(keys) }),
    );
    try {
      const { customDomain } = workgroup;
      const { dbUser, dbPassword, expiration } = await client.send(
        new GetCredentialsCommand({
          ...(customDomain === undefined ? { workgroupName: workgroup.name } : { customDomainName: customDomain }),
          ...(name !== "" && { dbName: name }),
          durationSeconds: lastsFor,
        }),
      );
      if (!dbUser || !dbPassword || !expiration)
        throw new Failure("unavailable", `Redshift gave no credentials for ${workgroup.name}`);
      return { user: dbUser, password: secret(dbPassword), expiresAt: expiration.getTime() };
    } catch (thrown) {
      throw wordCredentials(thrown, workgroup.name, roleArn, keys.region);
    } finally {
      client.destroy();
    }
  };

  const kept = new Map<string, { readonly issued: Promise<Issued>; until: number }>();
  const credentials = (of: CredentialsFor): Promise<Issued> => {
    const id = JSON.stringify([of.keys.hops, of.keys.person, of.keys.region, of.workgroup, of.name]);
    const known = kept.get(id);
    if (known && known.until > now()) return known.issued;
    if (kept.size >= mostKept) for (const [other, { until }] of kept) if (until <= now()) kept.delete(other);
    const entry = { issued: issue(of), until: Number.POSITIVE_INFINITY };
    kept.set(id, entry);
    entry.issued.then(
      ({ expiresAt }) => {
        entry.until = expiresAt - dropBefore;
      },
      () => {
        if (kept.get(id) === entry) kept.delete(id);
      },
    );
    return entry.issued;
  };

  return {
    workgroups: (listing: Listing): AsyncIterable<readonly Workgroup[]> =>
      pages("redshift-serverless:ListWorkgroups", listing, async (token) => {
        const command = new ListWorkgroupsCommand(at(token));
        const { workgroups: items, nextToken: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    endpoints: (listing: Listing): AsyncIterable<readonly EndpointAccess[]> =>
      pages("redshift-serverless:ListEndpointAccess", listing, async (token) => {
        const command = new ListEndpointAccessCommand(at(token));
        const { endpoints: items, nextToken: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    /** @throws Failure `denied` where tags may not be read */
    tags: async (listing: Listing, resourceArn: string): Promise<Labels> => {
      const command = new ListTagsForResourceCommand({ resourceArn });
      const { tags = [] } = await clientFor(listing)
        .send(command)
        .catch((thrown: unknown) => {
          throw wordCall(thrown, "redshift-serverless:ListTagsForResource", listing.region, resourceArn);
        });
      return Object.fromEntries(tags.map(({ key = "", value = "" }) => [key, value]));
    },
    credentials,
    forget: () => kept.clear(),
  };
};

const wordCredentials = (thrown: unknown, workgroup: string, roleArn: string, region: string): Failure => {
  if (thrown instanceof Failure) return thrown;
  const name = errorName(thrown);
  const [, partition = "", , , account = ""] = roleArn.split(":");
  const say = (code: "denied" | "too_many" | "unavailable", message: string, hint: string) =>
    new Failure(code, message, { hint, cause: thrown });
  if (isAccessDenied(thrown)) {
    const resource = `arn:${partition}:redshift-serverless:${region}:${account}:workgroup/*`;
    const statement = { Effect: "Allow", Action: "redshift-serverless:GetCredentials", Resource: resource };
    const hint = `add to the policy of ${roleArn}: ${JSON.stringify(statement)}`;
    return say("denied", `${roleArn} may not log in to the workgroup ${workgroup}`, hint);
  }
  if (throttled.includes(name))
    return say("too_many", "Redshift gives no more credentials just now", "try again in a minute");
  const hint = name === "ResourceNotFoundException" ? "it may have been deleted: run discovery" : "try again";
  return say("unavailable", `asking for credentials of ${workgroup} failed (${name || "unknown error"})`, hint);
};
