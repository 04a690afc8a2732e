// sally configure aws print-iam: documents as AWS takes them, commands as a shell takes them, and nothing that was not asked for.
import { execFileSync } from "node:child_process";
import { principals, statementsFor } from "@sallyport/core/permission";
import { documentOf, type PolicyDocument, places, sizeOf } from "@sallyport/core/policy";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeWorld, type World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = makeWorld();
});
afterEach(() => world.close());

const account = "111122223333";
const print = (...more: string[]) =>
  world.run([
    "configure",
    "aws",
    "print-iam",
    "--types",
    "rds",
    "--account",
    account,
    "--region",
    "eu-west-1",
    ...more,
  ]);
const documents = async (...more: string[]): Promise<{ name: string; document: PolicyDocument }[]> => {
  const { status, stdout, stderr } = await print("-f", "json", ...more);
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
};
/** What a shell makes of the commands, word by word. */
const wordsOf = (commands: string): string[][] =>
  execFileSync("/bin/sh", ["-c", `aws() { printf '%s\\0' aws "$@"; printf '\\n\\0'; }\n${commands}`], {
    encoding: "utf8",
    env: {},
  })
    .split("\n\0")
    .filter((line) => line !== "")
    .map((line) => line.split("\0").filter((word) => word !== ""));

const arn = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:${account}:${rest}`;
const deployment = {
  partition: "aws",
  account,
  region: "eu-west-1",
  tableArn: arn("dynamodb", "table/sallyport"),
  discoverArn: arn("lambda", "function:sallyport-discover"),
  probeArn: arn("lambda", "function:sallyport-probe"),
  secretPrefix: "sallyport",
  assumable: [],
};

describe("the policies of the principals", () => {
  it("are core's statements, all of them and no other", async () => {
    const found = new Map((await documents()).map(({ name, document }) => [name, document]));
    for (const principal of principals) {
      const statements = statementsFor(principal, deployment, ["rds", "aurora"]);
      expect(found.get(`sallyport-${principal}`)).toEqual(statements.length > 0 ? documentOf(statements) : undefined);
    }
  });

  it("are commands that a shell runs as they stand", async () => {
    const { stdout } = await print("--principal", "discover,proxy");
    const commands = wordsOf(stdout);
    expect(commands.map((words) => words.slice(0, 7))).toEqual(
      ["discover", "proxy"].map((name) => [
        "aws",
        "iam",
        "put-role-policy",
        "--role-name",
        `sallyport-${name}`,
        "--policy-name",
        `sallyport-${name}`,
      ]),
    );
    const [discover] = await documents("--principal", "discover");
    expect(JSON.parse(commands[0]?.at(-1) ?? "")).toEqual(discover?.document);
  });

  it("name only the kinds, databases and users that were asked for", async () => {
    const more = ["--types", "aurora", "--principal", "proxy", "--scope", "cluster-ABC/reader,db-DEF"];
    const connect = (await documents(...more)).flatMap(({ document }) =>
      document.Statement.filter(({ Action }) => Action.includes("rds-db:connect")),
    );
    expect(connect.map(({ Resource }) => Resource)).toEqual([
      [`arn:aws:rds-db:*:${account}:dbuser:cluster-ABC/reader`, `arn:aws:rds-db:*:${account}:dbuser:db-DEF/*`],
    ]);
  });

  it("hold what the audit, the certificate and the tasks need, where those are named", async () => {
    const key = (id: string) => arn("kms", `key/${id}`);
    const parts = [
      "--audit-bucket",
      "our-audit",
      "--audit-key",
      key("a-1"),
      "--root-key",
      key("r-1"),
      "--task-cluster",
      "c",
    ];
    const found = new Map((await documents(...parts)).map(({ name, document }) => [name, document]));
    const whole = {
      ...deployment,
      auditBucketArn: "arn:aws:s3:::our-audit",
      auditKeyArn: key("a-1"),
      rootKeyArn: key("r-1"),
      taskArn: arn("ecs", "task/c/*"),
    };
    for (const principal of ["certify", "proxy"] as const)
      expect(found.get(`sallyport-${principal}`)).toEqual(
        documentOf(statementsFor(principal, whole, ["rds", "aurora"])),
      );
  });

  it("S-44 change databases only where it was asked for, and by enable alone", async () => {
    const changing = (all: Awaited<ReturnType<typeof documents>>) =>
      all.flatMap(({ name, document }) =>
        document.Statement.flatMap(({ Action }) => (Action.some((one) => one.startsWith("rds:Modify")) ? [name] : [])),
      );
    expect(changing(await documents())).toEqual([]);
    expect(changing(await documents("--enable", `arn:aws:rds:eu-west-1:${account}:db:*`))).toEqual([
      "sallyport-enable",
    ]);
  });

  it("are split below the limit of a managed policy, and refused where inline ones don't hold them", async () => {
    const scope = Array.from({ length: 200 }, (_, at) => `db-${String(at).padStart(26, "0")}/reader`).join(",");
    const more = ["--principal", "proxy", "--scope", scope];
    const parts = await documents(...more, "--attach", "managed");
    expect(parts.length).toBeGreaterThan(2);
    expect(parts.map(({ name }) => name)).toEqual(parts.map((_, at) => `sallyport-proxy-${at + 1}`));
    for (const { document } of parts) expect(sizeOf(document)).toBeLessThanOrEqual(places.managed.limit);
    const granted = parts.flatMap(({ document }) => document.Statement.flatMap(({ Resource = [] }) => Resource));
    expect(new Set(granted.filter((one) => one.includes(":dbuser:"))).size).toBe(200);
    const { status, stderr } = await print(...more);
    expect([status, stderr]).toEqual([1, expect.stringContaining("hint: --attach managed")]);
  });
});

describe("caches", () => {
  const cacheTypes = ["elasticache", "elasticache-serverless", "memorydb"] as const;
  const of = (...more: string[]) => documents("--types", cacheTypes.join(), ...more);

  it("have their own statements, and the API may start rotation for them alone", async () => {
    const found = new Map((await of()).map(({ name, document }) => [name, document]));
    const whole = { ...deployment, rotateArn: arn("lambda", "function:sallyport-rotate") };
    // --types is given twice: what was asked for is all of it
    for (const principal of principals) {
      const statements = statementsFor(principal, whole, ["rds", "aurora", ...cacheTypes]);
      expect(found.get(`sallyport-${principal}`)).toEqual(statements.length > 0 ? documentOf(statements) : undefined);
    }
    expect(JSON.stringify(await documents("--principal", "api"))).not.toContain("sallyport-rotate");
  });

  it("name the key of rotated passwords, to be used through Secrets Manager alone", async () => {
    const key = arn("kms", "key/p-1");
    const all = await of("--principal", "rotate,proxy", "--rotation-key", key);
    const using = all.flatMap(({ document }) =>
      document.Statement.filter(({ Action }) => Action.some((one) => one.startsWith("kms:"))),
    );
    expect(using.map(({ Action, Resource }) => [Action, Resource])).toEqual([
      [["kms:GenerateDataKey", "kms:Decrypt"], [key]],
      [["kms:Decrypt"], [key]],
    ]);
    for (const { Condition } of using)
      expect(Condition?.["StringEquals"]?.["kms:ViaService"]).toEqual(["secretsmanager.eu-west-1.amazonaws.com"]);
  });

  it("and users are named by a scope, for one service each", async () => {
    const scope = "replicationgroup:orders/app,cluster:ledger";
    const connect = (await of("--principal", "proxy", "--scope", scope)).flatMap(({ document }) =>
      document.Statement.filter(({ Action }) => Action.some((one) => /connect$/i.test(one))),
    );
    expect(connect.map(({ Action, Resource }) => [Action, Resource])).toEqual([
      [
        ["elasticache:Connect"],
        [`arn:aws:elasticache:*:${account}:replicationgroup:orders`, `arn:aws:elasticache:*:${account}:user:app`],
      ],
      [["memorydb:Connect"], [`arn:aws:memorydb:*:${account}:cluster/ledger`, `arn:aws:memorydb:*:${account}:user/*`]],
    ]);
  });

  it("fit into a role, and into managed policies by parts", async () => {
    for (const { document } of await of()) expect(sizeOf(document)).toBeLessThanOrEqual(places.role.limit);
    for (const { document } of await of("--attach", "managed"))
      expect(sizeOf(document)).toBeLessThanOrEqual(places.managed.limit);
  });
});

describe("a role in another account", () => {
  const trust = `arn:aws:iam::${account}:role/sallyport-discover,arn:aws:iam::${account}:role/sallyport-proxy`;
  const reach = [
    "--cross-account-role",
    "reach",
    "--account",
    "444455556666",
    "--external-id",
    "shop-1",
    "--trust",
    trust,
  ];

  it("has its trust policy, with the external id, and what is done there", async () => {
    const [role, policy, ...others] = await documents(...reach);
    expect(others).toEqual([]);
    expect(role?.document.Statement).toMatchObject([
      { Principal: { AWS: trust.split(",") }, Condition: { StringEquals: { "sts:ExternalId": ["shop-1"] } } },
    ]);
    const actions = policy?.document.Statement.flatMap(({ Action }) => Action) ?? [];
    expect(new Set(actions)).toEqual(
      new Set([
        ...["rds:DescribeDBInstances", "rds:DescribeDBClusters", "rds:DescribeDBClusterEndpoints"],
        "rds-db:connect",
      ]),
    );
    expect(JSON.stringify(policy)).toContain("arn:aws:rds-db:*:444455556666:dbuser:*/*");
    const commands = wordsOf((await print(...reach)).stdout);
    expect(commands.map((words) => words[2])).toEqual(["create-role", "put-role-policy"]);
  });

  it("that lets nobody in is not printed", async () => {
    expect(await print("--cross-account-role", "reach")).toMatchObject({ status: 2, stdout: "" });
  });
});

describe("S-47 what was typed", () => {
  it.each(["$(id)", "`id`", "it's", 'a"b', "%0a", "*", "${aws:username}", "a b\u00e9".replace(" ", "")])(
    "S-47 %j as a database user reaches the document and no shell",
    async (user) => {
      const more = ["--principal", "proxy", "--scope", `db-ABC/${user}`];
      const [words] = wordsOf((await print(...more)).stdout);
      const document = JSON.parse(words?.at(-1) ?? "") as PolicyDocument;
      const [proxy] = await documents(...more);
      expect(document).toEqual(proxy?.document);
      const resource = document.Statement.flatMap(({ Resource = [] }) => Resource).find((one) =>
        one.includes("db-ABC"),
      );
      const plain = resource?.replace(/\$\{([*?$])\}/g, "$1");
      expect(plain).toBe(`arn:aws:rds-db:*:${account}:dbuser:db-ABC/${user}`);
    },
  );

  it.each([
    ["--account", "1111222233"],
    ["--account", "$(id)"],
    ["--region", "eu-west-1;id"],
    ["--prefix", "a b"],
    ["--table", "t'"],
    ["--external-id", "a b"],
    ["--trust", "*"],
    ["--trust", "arn:aws:iam::111122223333:role/x*"],
    ["--cross-account-role", "$(id)"],
    ["--assume", "arn:aws:iam::444455556666:role/*"],
    ["--enable", "*"],
    ["--scope", "db-*"],
    ["--scope", "db-ABC/a b"],
    ["--scope", "db-ABC/"],
    ["--scope", "replicationgroup:ord*"],
    ["--scope", "replicationgroup:/app"],
    ["--scope", "user:app"],
    ["--rotation-key", "*"],
    ["--principal", "root"],
    ["--partition", "mars"],
    ["--audit-bucket", "a*"],
    ["--audit-key", "alias/x"],
    ["--root-key", "*"],
    ["--task-cluster", "*"],
  ])("S-47 %s %j is a usage error", async (option, value) => {
    expect(await print(option, value)).toMatchObject({ status: 2, stdout: "" });
  });

  it("a type that is none is named, with those there are", async () => {
    const { status, stderr } = await print("--types", "oracle");
    expect([status, stderr]).toEqual([2, expect.stringContaining("oracle is no type of database")]);
  });
});
