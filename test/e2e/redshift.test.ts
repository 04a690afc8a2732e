// Redshift Serverless end to end: a person logs in as an IAM role, by both ways in, and is `IAMR:<role>` inside. What stands for
// Redshift is a PostgreSQL that says it is 8.0.2 and honours the credentials that were issued; its catalogs are not Redshift's.
import { connect } from "node:net";
import { userRoleStatements } from "@sallyport/core/permission";
import type { Front } from "@sallyport/local/postgres/front";
import { version } from "@sallyport/local/redshift/front";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pgConfig } from "./clients/pg.ts";
import { openTunnelFor, type TunnelOf, tunnelWay } from "./clients/way.ts";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
let front: Front;
let tunnel: TunnelOf;
const database = "sales";

beforeAll(async () => {
  world = await openWorld();
  const { account, region, databases } = world.laptop;
  const spec = { name: "sales", tags: { env: "dev" }, endpoints: ["office"], databases: ["orders", "payroll"] };
  ({ front } = await databases.addWorkgroup(spec, world.servers[0]!));
  for (const name of ["analyst", "stranger"])
    account.addRole({
      name,
      tags: { sallyport: "database-user" },
      // the second one trusts nobody
      trust:
        name === "analyst" ? [{ principals: [account.id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }] : [],
      statements: userRoleStatements("redshift-serverless", { partition: "aws", account: account.id }),
    });
  await world.put({
    kind: "discovery_config",
    version: "v1",
    metadata: { name: "warehouse" },
    spec: { aws: [{ types: ["redshift-serverless"], regions: [region], tags: { "*": ["*"] } }] },
  });
  await world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "warehouse" },
    spec: {
      allow: {
        db_labels: { workgroup: "sales" },
        db_users: ["analyst", "stranger", "IAMR:analyst"],
        db_names: ["orders"],
      },
    },
  });
  await world.discover();
  await world.person("ana", ["warehouse"]).then((client) => people.set("ana", client));
  await world.person("bo", ["warehouse"]).then((client) => people.set("bo", client));
  await world.person("tom", ["warehouse"]);
  tunnel = await openTunnelFor(world, "tom", { database, user: "analyst", name: "orders" });
});
afterAll(async () => {
  await tunnel?.close();
  await world?.close();
});
const people = new Map<string, Awaited<ReturnType<World["person"]>>>();

const plain = async (person: string, over: { user?: string; database?: string } = {}): Promise<pg.Client> => {
  const answer = await world.bearer(people.get(person)!, { database, user: "analyst", name: "orders", ...over });
  const { ca, caFile: _, ...place } = plainly(world.laptop, answer);
  const client = new pg.Client({ ...place, ssl: { ca } });
  await client.connect();
  return client;
};
const who = "select current_user, version()";

describe("a role as database user", () => {
  it("is IAMR:<role> inside, on a server that says it is Redshift's 8.0.2", async () => {
    const client = await plain("ana");
    expect((await client.query(who)).rows).toEqual([{ current_user: "IAMR:analyst", version }]);
    await client.end();
  });

  it("comes through the tunnel too, by the ARN as by the name", async () => {
    const client = new pg.Client({ ...pgConfig(await tunnelWay(() => tunnel.tunnel).place()), user: "analyst" });
    await client.connect();
    expect((await client.query(who)).rows[0].current_user).toBe("IAMR:analyst");
    await client.end();
    const byArn = await plain("ana", { user: `arn:aws:iam::${world.laptop.account.id}:role/analyst` });
    expect((await byArn.query(who)).rows[0].current_user).toBe("IAMR:analyst");
    await byArn.end();
  });

  it("is reached by a VPC endpoint, whose certificate is the workgroup's", async () => {
    const { databases } = await people.get("ana")!.call("databases", {});
    const name = databases.find(({ labels }) => labels["endpoint-type"] === "vpc-endpoint")?.name ?? "";
    const client = await plain("ana", { database: name });
    expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it("is another session in CloudTrail for each person", async () => {
    for (const person of ["ana", "bo"]) await (await plain(person)).end();
    const asked = world.laptop.aws.calls().filter(({ operation }) => operation === "GetCredentials");
    const names = new Set(asked.map(({ arn }) => arn?.split("/").at(-1)));
    expect(["sally-ana", "sally-bo"].filter((name) => !names.has(name))).toEqual([]);
    const assumed = world.laptop.sts.assumptions().filter(({ roleArn }) => roleArn.endsWith("/analyst"));
    for (const { sessionName, sourceIdentity } of assumed) expect(sourceIdentity).toBe(sessionName);
  });

  it("cancels what it runs", async () => {
    const client = await plain("ana");
    const before = front.counters().cancels;
    const slow = client.query("select pg_sleep(60)").catch((error: { code?: string }) => error.code);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const request = Buffer.alloc(16);
    for (const [at, value] of [16, 80_877_102, processID, secretKey].entries()) request.writeInt32BE(value, at * 4);
    const cancel = connect(world.laptop.ports.postgres, "127.0.0.1", () => cancel.end(request));
    expect(await slow).toBe("57014");
    expect(front.counters().cancels).toBe(before + 1);
    await client.end();
  });
});

describe("refusals", () => {
  it.each(["IAMR:analyst", "IAM:analyst"])("%s is refused in AWS's words, whatever the roles allow", async (user) => {
    await expect(plain("ana", { user })).rejects.toThrow("expecting name or ARN of an AWS IAM role");
  });

  it("S-35 a role that may not be assumed: both halves of the trust, in PostgreSQL's words", async () => {
    const error = await plain("ana", { user: "stranger" }).catch(
      (thrown: { message: string; hint?: string }) => thrown,
    );
    expect(error).toMatchObject({
      message: expect.stringContaining("AWS does not let us assume"),
      hint: expect.stringContaining("aws sts assume-role --role-arn"),
    });
  });

  it("S-05 another database name than the token's is refused", async () => {
    const answer = await world.bearer(people.get("ana")!, { database, user: "analyst", name: "orders" });
    const { ca, caFile: _, ...place } = plainly(world.laptop, answer);
    const client = new pg.Client({ ...place, database: "payroll", ssl: { ca } });
    await expect(client.connect()).rejects.toThrow();
  });

  it("permission denied comes with the statements that grant it", async () => {
    await world.servers[0]!.sql("postgres", "revoke connect on database orders from public");
    try {
      const error = await plain("ana").catch((thrown: { message: string; hint?: string }) => thrown);
      expect(error).toMatchObject({
        message: expect.stringContaining("permission denied"),
        hint: expect.stringContaining('CREATE USER "IAMR:analyst" PASSWORD DISABLE; GRANT'),
      });
    } finally {
      await world.servers[0]!.sql("postgres", "grant connect on database orders to public");
    }
  });
});
