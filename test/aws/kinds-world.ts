// RDS and STS of two laptop accounts, and the kinds with exactly the permissions of the discover function; fresh for each test.
import { openKinds } from "@sallyport/aws/kinds";
import { Failure } from "@sallyport/core/failure";
import type { Found, Kind, Listing, Sighting } from "@sallyport/core/kind";
import { statementsFor } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { openRds, type Rds } from "@sallyport/local/services/rds";
import { openSts } from "@sallyport/local/services/sts";
import { afterEach, beforeEach, expect } from "vitest";
import { type Laptop, openLaptop } from "./laptop.ts";

export const region = "eu-west-1";
export const accountId = "111122223333";
export const where = { accountId, region };
export const deployment = {
  partition: "aws",
  account: accountId,
  region,
  tableArn: `arn:aws:dynamodb:${region}:${accountId}:table/x`,
  discoverArn: `arn:aws:lambda:${region}:${accountId}:function:discover`,
  secretPrefix: "sallyport",
  assumable: ["arn:aws:iam::444455556666:role/reach"],
};
export let laptop: Laptop;
export let rds: Rds;
beforeEach(async () => {
  rds = openRds();
  const accounts = [openAccount({ id: accountId }), openAccount({ id: "444455556666" })];
  laptop = await openLaptop([rds.api, openSts(accounts)], accounts);
});
afterEach(() => laptop[Symbol.asyncDispose]());

/** With exactly what the discover function may. */
export const open = (statements = statementsFor("discover", deployment, ["rds", "aurora"])) =>
  openKinds({ clock: { now: Date.now }, connection: laptop.as("discover", statements) });
export const list = async (kind: Kind, listing: Listing = { region }): Promise<Found> => {
  const sightings: Sighting[] = [];
  const warnings: string[] = [];
  let incomplete = false;
  for await (const page of kind.discover(listing)) {
    sightings.push(...page.sightings);
    warnings.push(...page.warnings);
    incomplete ||= page.incomplete === true;
  }
  return { sightings, warnings, ...(incomplete && { incomplete }) };
};
export const one = async (kind: Kind): Promise<Sighting> => {
  const { sightings } = await list(kind);
  expect(sightings).toHaveLength(1);
  return sightings[0]!;
};
export const failureOf = (promise: Promise<unknown>): Promise<Failure> =>
  promise.then(
    () => expect.unreachable("nothing was thrown"),
    (thrown: unknown) => (thrown instanceof Failure ? thrown : Promise.reject(thrown)),
  );
