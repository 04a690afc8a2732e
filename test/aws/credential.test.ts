import { openKinds } from "@sallyport/aws/kinds";
import type { Database } from "@sallyport/core/database";
import type { Kind } from "@sallyport/core/kind";
import { verifyToken } from "@sallyport/local/signature";
import { describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";
import { accountId, failureOf, laptop, open, region } from "./kinds-world.ts";

describe("credentials", () => {
  const database: Database = makeDatabase();
  const { host } = database.endpoint;
  const verify = (token: string, now = Date.now(), at = `${host}:5432`) =>
    verifyToken({
      token,
      service: "rds-db",
      host: at,
      region,
      expect: { Action: "connect", DBUser: "reader" },
      credentials: (id) => laptop.accounts.map((account) => account.key(id)).find((key) => key !== undefined),
      now,
    });
  const passwordOf = async (kind: Kind, of: Database, person = "ana") => {
    const credential = await kind.credential(of, "reader", { user: person });
    if (credential.as !== "password") throw new Error("no password");
    expect(credential).toMatchObject({ user: "reader", methods: "clear" });
    expect(JSON.stringify(credential)).not.toContain("X-Amz-Signature");
    return credential.password.reveal();
  };

  it.each(["rds", "aurora"] as const)(
    "of %s are a token that RDS takes, in clear and nowhere but there",
    async (name) => {
      expect(verify(await passwordOf(open()[name], database)).arn).toBe(`arn:aws:iam::${accountId}:user/discover`);
    },
  );

  it("are signed for another host where one is named", async () => {
    const primary = "primary.abc.eu-west-1.rds.amazonaws.com";
    const token = await passwordOf(open().aurora, { ...database, signFor: { host: primary, port: 5433 } });
    expect(verify(token, Date.now(), `${primary}:5433`).region).toBe(region);
  });

  it("in another account are the person's own: two people never share one", async () => {
    laptop.accounts[1]!.addRole({ name: "reach", trust: [{ principals: [accountId] }] });
    const theirs = { ...database, assume: { roleArn: "arn:aws:iam::444455556666:role/reach" } };
    const kinds = open();
    const [ana, bo] = [await passwordOf(kinds.rds, theirs, "ana"), await passwordOf(kinds.rds, theirs, "bo")];
    expect([ana, bo].map((token) => verify(token).arn)).toEqual([
      "arn:aws:sts::444455556666:assumed-role/reach/sally-ana",
      "arn:aws:sts::444455556666:assumed-role/reach/sally-bo",
    ]);
    expect(await passwordOf(kinds.rds, theirs, "ana")).toBe(ana);
  });

  it("S-35 are never made for a host that is not RDS's own", async () => {
    const kinds = open();
    const odd = [
      ...[`${host}.evil.example`, `evil.example/${host}`, `${host}.`, host.toUpperCase(), "evil.example", ""],
      ...["orders.abc.us-east-1.rds.amazonaws.com", "orders.abc.eu-west-1.rds.amazonaws.com.cn"],
      ...["127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "[::ffff:a9fe:a9fe]", "localhost"],
    ];
    for (const evil of odd)
      for (const member of ["host", "verifyName"]) {
        const endpoint = { ...database.endpoint, [member]: evil };
        const failure = await failureOf(kinds.rds.credential({ ...database, endpoint }, "reader", { user: "ana" }));
        expect([member, evil, failure.code]).toEqual([member, evil, "upstream_untrusted"]);
      }
    for (const partition of ["aws-cn", "aws-mars", ""])
      expect((await failureOf(kinds.rds.credential({ ...database, partition }, "reader", { user: "ana" }))).code).toBe(
        "upstream_untrusted",
      );
    const signFor = { host: "evil.example", port: 5432 };
    expect((await failureOf(kinds.rds.credential({ ...database, signFor }, "reader", { user: "ana" }))).code).toBe(
      "upstream_untrusted",
    );
  });

  it("without any keys fail, and say so", async () => {
    const keys = () => Promise.reject(new Error("Could not load credentials from any providers"));
    const kinds = openKinds({ clock: { now: Date.now }, connection: { keys } });
    expect(await failureOf(kinds.rds.credential(database, "reader", { user: "ana" }))).toMatchObject({
      code: "unavailable",
      message: "there are no AWS keys to log in with",
    });
  });
});
