// A hostile or broken server where Redshift Serverless should be: what its clients read
// of it, and that the next login works.
import { userRoleStatements, userRoleTag } from "@sallyport/core/permission";
import { authentication } from "@sallyport/local/postgres/fault";
import type { Front } from "@sallyport/local/postgres/front";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
let front: Front;
let ana: Awaited<ReturnType<World["person"]>>;
beforeAll(async () => {
  world = await openWorld();
  const { account, region, databases } = world.laptop;
  ({ front } = await databases.addWorkgroup(
    { name: "sales", tags: { env: "dev" }, databases: ["orders"] },
    world.servers[0]!,
  ));
  account.addRole({
    name: "analyst",
    tags: { [userRoleTag.key]: userRoleTag.value },
    trust: [{ principals: [account.id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }],
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
    spec: { allow: { db_labels: { workgroup: "sales" }, db_users: ["analyst"], db_names: ["orders"] } },
  });
  await world.discover();
  ana = await world.person("ana", ["warehouse"]);
});
afterEach(() => front?.misbehave());
afterAll(() => world?.close());

const connect = async (): Promise<string> => {
  const answer = await world.bearer(ana, { database: "sales", user: "analyst" });
  const { ca, caFile: _, ...place } = plainly(world.laptop, answer);
  const client = new pg.Client({ ...place, ssl: { ca } });
  try {
    await client.connect();
    await client.end();
    return "in";
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
};
const stillWorks = async (): Promise<void> => {
  await front.misbehave();
  expect(await connect()).toBe("in");
};

describe("a server that asks for what it should not have, or says what it should not, is told of", () => {
  it.each([
    ["the password in clear", authentication(3), /in clear, which is not/],
    ["an identity provider's token, which Redshift calls 14", authentication(14), /an identity provider/],
    ["Kerberos", authentication(7), /the database/],
    [
      "a digest whose parts are longer than the message",
      authentication(13, Buffer.from([0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff])),
      /the database/,
    ],
    [
      "a digest with a negative length",
      authentication(13, Buffer.from([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])),
      /the database/,
    ],
  ])("S-33 %s", async (_, bytes, words) => {
    await front.misbehave({ is: "asking", bytes });
    expect(await connect()).toMatch(words);
    await stillWorks();
  });

  it("S-20 bytes right behind the answer to SSLRequest end it before TLS", async () => {
    await front.misbehave({ is: "smuggling", bytes: Buffer.from("E\0\0\0\x0cSFATAL\0\0") });
    expect(await connect()).toMatch(/the database/);
    await stillWorks();
  });

  it("S-33 a certificate of somebody else's", async () => {
    await front.misbehave({ is: "impostor", identity: await world.laptop.authority.issue(["localhost"]) });
    expect(await connect()).toMatch(/trust|certificate/);
    await stillWorks();
  });

  it("S-33 no TLS at all", async () => {
    await front.misbehave({ is: "plaintext" });
    expect(await connect()).toMatch(/TLS/);
    await stillWorks();
  });

  it("S-30 a login that is answered with another protocol", async () => {
    await front.misbehave({ is: "garbage", at: "login", bytes: Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") });
    expect(await connect()).toMatch(/the database/);
    await stillWorks();
  });
});
