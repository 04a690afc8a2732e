// What each principal may do to the table, against what its code does: nothing that is not needed.
import {
  type Deployment,
  type Principal,
  principals,
  statementsAbroad,
  statementsFor,
} from "@sallyport/core/permission";
import { expect, it } from "vitest";

const deployment: Deployment = {
  partition: "aws",
  account: "111122223333",
  region: "eu-west-1",
  tableArn: "arn:aws:dynamodb:eu-west-1:111122223333:table/t",
  discoverArn: "arn:aws:lambda:eu-west-1:111122223333:function:discover",
  secretPrefix: "t",
  assumable: [],
};
const tablePowers = (principal: Principal): Set<string> =>
  new Set(
    statementsFor(principal, deployment, ["rds", "aurora"]).flatMap(({ actions, conditions }) =>
      [conditions?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"] ?? []]
        .flat()
        .flatMap((family) => actions.map((action) => `${action.replace("dynamodb:", "")} ${family}`)),
    ),
  );

it.each<[Principal, readonly string[]]>([
  ["api", ["Query run#*", "GetItem session#*", "PutItem database#*", "UpdateItem config#*", "DeleteItem token#*"]],
  ["bootstrap", ["Query access#*", "GetItem login#*", "DeleteItem key#*"]],
  ["discover", ["GetItem access#*", "UpdateItem database#*", "GetItem config#*", "Query run#*"]],
  ["certify", ["GetItem access#*", "PutItem access#*", "DeleteItem trust#*", "UpdateItem epoch#*", "GetItem token#*"]],
  ["enable", ["Query database#*", "PutItem database#*", "UpdateItem epoch#*", "PutItem config#*", "GetItem access#*"]],
  ["rotate", ["UpdateItem epoch#*", "PutItem database#*", "GetItem token#*", "DeleteItem managed#*", "Query run#*"]],
  ["sweep", ["Query token#*", "GetItem token#*", "GetItem spend#*", "Query limit#*", "DeleteItem session#*"]],
  ["proxy", ["UpdateItem proxy#*", "PutItem managed#*", "GetItem key#*", "GetItem login#*", "UpdateItem token#*"]],
])("S-44 %s is not given what it does not use", (principal, unused) => {
  const powers = tablePowers(principal);
  expect(unused.filter((power) => powers.has(power))).toEqual([]);
});

it("S-44 nobody may scan, and every grant on the table names families", () => {
  for (const principal of principals)
    for (const { actions, conditions } of statementsFor(principal, deployment, ["rds", "aurora"]))
      if (actions.some((action) => action.startsWith("dynamodb:"))) {
        expect(actions).not.toContain("dynamodb:Scan");
        expect(conditions?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"]).not.toHaveLength(0);
      }
});

it("S-44 the root's key is certify's alone, for digests alone; a proxy reads secrets as they are now, not as they will be", () => {
  const rootKeyArn = "arn:aws:kms:eu-west-1:111122223333:key/root";
  const about = (principal: Principal, service: RegExp) =>
    statementsFor(principal, { ...deployment, rootKeyArn }, ["rds", "aurora"]).filter(({ actions }) =>
      actions.some((action) => service.test(action)),
    );
  for (const principal of principals.filter((one) => one !== "certify"))
    expect(about(principal, /^kms:/).filter(({ resources }) => resources.includes(rootKeyArn))).toEqual([]);
  expect(about("certify", /^kms:Sign/).map(({ conditions }) => conditions)).toEqual([
    { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } },
  ]);
  expect(statementsFor("certify", deployment, []).flatMap(({ actions }) => actions)).not.toContain("kms:Sign");
  for (const principal of principals.filter((one) => one !== "certify" && one !== "rotate"))
    for (const { actions, conditions } of about(principal, /^secretsmanager:/)) {
      expect(actions).toEqual(["secretsmanager:GetSecretValue"]);
      expect(conditions).toEqual({ StringEquals: { "secretsmanager:VersionStage": "AWSCURRENT" } });
    }
});

it("S-44 what clients are told to trust is written by certify, and by nobody else", () => {
  for (const principal of principals) {
    const writes = [...tablePowers(principal)].filter((power) => /^(Put|Update|Delete)Item trust#/.test(power));
    expect(writes).toEqual(principal === "certify" ? ["PutItem trust#*"] : []);
  }
});

it("S-44 only enable may change a database's settings, and only what the deployment names", () => {
  const named = [
    "arn:aws:rds:eu-west-1:111122223333:db:orders-*",
    "arn:aws:rds:eu-west-1:111122223333:cluster:shop",
    "arn:aws:rds:eu-west-1:111122223333:og:x",
  ];
  const changes = (principal: Principal, enabling?: readonly string[]) =>
    statementsFor(principal, { ...deployment, ...(enabling && { enabling }) }, ["rds", "aurora"])
      .filter(({ actions }) => actions.some((action) => /^rds:(?!Describe)/.test(action)))
      .map(({ actions, resources }) => [actions, resources]);
  expect(changes("enable", named)).toEqual([
    [["rds:ModifyDBInstance"], [named[0]]],
    [["rds:ModifyDBCluster"], [named[1]]],
  ]);
  expect(changes("enable")).toEqual([]);
  const there = statementsAbroad({ ...deployment, enabling: named }, ["rds", "aurora"]);
  expect(there.flatMap(({ actions }) => actions).filter((action) => /^rds:(?!Describe)/.test(action))).toEqual([]);
  for (const principal of principals.filter((one) => one !== "enable")) expect(changes(principal, named)).toEqual([]);
});

it("S-44 probe may do nothing at AWS, and who starts another function is granted that one alone", () => {
  const deployed = { ...deployment, probeArn: "arn:aws:lambda:eu-west-1:111122223333:function:probe" };
  expect(statementsFor("probe", deployed, ["rds", "aurora"])).toEqual([]);
  const invoked = (principal: Principal, of: Deployment) =>
    statementsFor(principal, of, ["rds"])
      .filter(({ actions }) => actions.includes("lambda:InvokeFunction"))
      .flatMap(({ resources }) => resources);
  expect(invoked("api", deployed)).toEqual([deployed.discoverArn, deployed.probeArn]);
  const enableArn = "arn:aws:lambda:eu-west-1:111122223333:function:enable";
  expect(invoked("discover", { ...deployed, enableArn })).toEqual([enableArn]);
  expect(invoked("rotate", deployed)).toEqual([deployed.probeArn]);
  for (const principal of principals.filter((one) => one !== "api" && one !== "rotate"))
    expect(invoked(principal, deployed)).toEqual([]);
});

it("S-44 the secrets of managed users are rotate's to change, and it may touch no other; the records of rotations it alone writes", () => {
  const managedKeyArn = "arn:aws:kms:eu-west-1:111122223333:key/managed";
  const about = (principal: Principal, service: RegExp) =>
    statementsFor(principal, { ...deployment, managedKeyArn }, ["rds", "aurora"]).filter(({ actions }) =>
      actions.some((action) => service.test(action)),
    );
  const secrets = about("rotate", /^secretsmanager:/);
  for (const { resources } of secrets)
    expect(resources).toEqual([
      "arn:aws:secretsmanager:eu-west-1:111122223333:secret:t/elasticache/*",
      "arn:aws:secretsmanager:eu-west-1:111122223333:secret:t/memorydb/*",
    ]);
  const ofOurs = { StringEquals: { "secretsmanager:ResourceTag/sallyport/owner": "sallyport" } };
  const changes = ["PutSecretValue", "UpdateSecretVersionStage", "RestoreSecret", "DeleteSecret"];
  for (const change of changes.map((action) => `secretsmanager:${action}`))
    expect(secrets.filter(({ actions }) => actions.includes(change)).map(({ conditions }) => conditions)).toEqual([
      ofOurs,
    ]);
  expect(about("rotate", /^kms:/)).toEqual([
    {
      actions: ["kms:GenerateDataKey", "kms:Decrypt"],
      resources: [managedKeyArn],
      conditions: { StringEquals: { "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com" } },
    },
  ]);
  for (const principal of principals) {
    const writes = [...tablePowers(principal)].filter((power) => /^(Put|Update|Delete)Item managed#/.test(power));
    expect(writes).toEqual(principal === "rotate" ? ["PutItem managed#*"] : []);
  }
});

it("S-44 proxies alone may ask not to be stopped, on their own cluster's tasks, and do nothing else at ECS", () => {
  const taskArn = "arn:aws:ecs:eu-west-1:111122223333:task/t-proxies/*";
  const atEcs = (principal: Principal) =>
    statementsFor(principal, { ...deployment, taskArn }, ["rds", "aurora"]).filter(({ actions }) =>
      actions.some((action) => action.startsWith("ecs:")),
    );
  for (const principal of principals)
    expect(atEcs(principal)).toEqual(
      principal === "proxy"
        ? [{ actions: ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"], resources: [taskArn] }]
        : [],
    );
});

it("S-43 S-44 a proxy puts audit under its own name and signs digests, and nobody else touches either", () => {
  const audited = {
    ...deployment,
    auditBucketArn: "arn:aws:s3:::audit",
    auditKeyArn: "arn:aws:kms:eu-west-1:111122223333:key/audit",
  };
  const about = (principal: Principal) =>
    statementsFor(principal, audited, ["rds", "aurora"]).filter(({ actions }) =>
      actions.some((action) => /^(s3|kms):/.test(action)),
    );
  expect(about("proxy")).toEqual([
    { actions: ["s3:PutObject"], resources: ["arn:aws:s3:::audit/segments/${aws:userid}/*"] },
    {
      actions: ["kms:Sign"],
      resources: [audited.auditKeyArn],
      conditions: { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } },
    },
  ]);
  for (const principal of principals.filter((one) => one !== "proxy"))
    expect(about(principal).flatMap(({ resources }) => resources)).toEqual([]);
});

it("S-44 proxies alone may assume roles of people, tagged ones of the account alone, and only for kinds whose users are roles", () => {
  const assumed = (principal: Principal, kinds: Parameters<typeof statementsFor>[2]) =>
    statementsFor(principal, deployment, kinds).filter(({ actions }) => actions.some((one) => one.startsWith("sts:")));
  expect(assumed("proxy", ["redshift-serverless"])).toEqual([
    {
      actions: ["sts:AssumeRole", "sts:SetSourceIdentity"],
      resources: ["arn:aws:iam::111122223333:role/*"],
      conditions: { StringEquals: { "iam:ResourceTag/sallyport": "database-user" } },
    },
  ]);
  expect(assumed("proxy", ["rds", "aurora"])).toEqual([]);
  for (const principal of principals.filter((one) => one !== "proxy"))
    expect(assumed(principal, ["redshift-serverless"])).toEqual([]);
});

const caches = ["elasticache", "elasticache-serverless", "memorydb"] as const;

it("S-44 rotation alone may change users of caches, by password, and only while a tag of theirs says so", () => {
  const changing = (principal: Principal) =>
    statementsFor(principal, deployment, caches).filter(({ actions }) =>
      actions.some((action) => /^(elasticache|memorydb):(?!Describe|List|Connect$)/.test(action)),
    );
  for (const principal of principals.filter((one) => one !== "rotate")) expect(changing(principal)).toEqual([]);
  expect(statementsAbroad(deployment, caches).flatMap(({ actions }) => actions)).not.toContain(
    "elasticache:ModifyUser",
  );
  const conditionsOf = (service: string, tag: string) => ({
    Null: { [`aws:ResourceTag/${tag}`]: "false" },
    StringNotEqualsIgnoreCase: { [`aws:ResourceTag/${tag}`]: ["false", "no", "disable", "disabled"] },
    StringEquals: { [`${service}:UserAuthenticationMode`]: "password" },
  });
  const tags = ["sallyport/managed", "teleport.dev/managed"];
  expect(changing("rotate")).toEqual([
    ...tags.map((tag) => ({
      actions: ["elasticache:ModifyUser"],
      resources: ["arn:aws:elasticache:*:111122223333:user:*"],
      conditions: conditionsOf("elasticache", tag),
    })),
    ...tags.map((tag) => ({
      actions: ["memorydb:UpdateUser"],
      resources: ["arn:aws:memorydb:*:111122223333:user/*"],
      conditions: conditionsOf("memorydb", tag),
    })),
  ]);
});

it("S-44 a proxy logs in to caches of its own account, and reads passwords that are or were current, never one that waits", () => {
  const managedKeyArn = "arn:aws:kms:eu-west-1:111122223333:key/managed";
  const statements = statementsFor("proxy", { ...deployment, managedKeyArn }, ["memorydb"]);
  const about = (action: string) => statements.filter(({ actions }) => actions.includes(action));
  expect(about("memorydb:Connect").flatMap(({ resources }) => resources)).toEqual([
    "arn:aws:memorydb:*:111122223333:cluster/*",
    "arn:aws:memorydb:*:111122223333:user/*",
  ]);
  const reading = about("secretsmanager:GetSecretValue").filter(
    ({ resources }) => !resources.join().includes("/proxy/"),
  );
  expect(reading).toEqual([
    {
      actions: ["secretsmanager:GetSecretValue"],
      resources: ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:t/memorydb/*"],
      conditions: { StringEquals: { "secretsmanager:VersionStage": ["AWSCURRENT", "AWSPREVIOUS"] } },
    },
  ]);
  expect(about("kms:Decrypt")).toEqual([
    {
      actions: ["kms:Decrypt"],
      resources: [managedKeyArn],
      conditions: {
        StringEquals: { "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com" },
        StringLike: {
          "kms:EncryptionContext:SecretARN": ["elasticache", "memorydb"].map(
            (service) => `arn:aws:secretsmanager:eu-west-1:111122223333:secret:t/${service}/*`,
          ),
        },
      },
    },
  ]);
  expect(
    statementsFor("proxy", { ...deployment, managedKeyArn }, ["rds"]).flatMap(({ actions }) => actions),
  ).not.toContain("kms:Decrypt");
});

it("S-44 passwords are read at home: a role in another account holds no secret of theirs or ours", () => {
  const there = statementsAbroad(
    { ...deployment, managedKeyArn: "arn:aws:kms:eu-west-1:111122223333:key/managed" },
    caches,
  );
  const actions = there.flatMap((statement) => statement.actions);
  expect(actions).toEqual(
    expect.arrayContaining(["elasticache:Connect", "memorydb:Connect", "memorydb:DescribeUsers"]),
  );
  expect(actions.filter((action) => /^(secretsmanager|kms|dynamodb):/.test(action))).toEqual([]);
});

it("a scope names databases of RDS and caches beside one another, and grants nothing on what it does not name", () => {
  const scope = ["db-ABC/reader", "replicationgroup:orders/app", "cluster:ledger/*"];
  const connecting = (...kinds: Parameters<typeof statementsFor>[2]) =>
    statementsFor("proxy", { ...deployment, scope }, kinds)
      .filter(({ actions }) => actions.some((action) => /connect$/i.test(action)))
      .map(({ actions, resources }) => [actions[0], resources]);
  expect(connecting("rds", ...caches)).toEqual([
    ["rds-db:connect", ["arn:aws:rds-db:*:111122223333:dbuser:db-ABC/reader"]],
    [
      "elasticache:Connect",
      ["arn:aws:elasticache:*:111122223333:replicationgroup:orders", "arn:aws:elasticache:*:111122223333:user:app"],
    ],
    ["memorydb:Connect", ["arn:aws:memorydb:*:111122223333:cluster/ledger", "arn:aws:memorydb:*:111122223333:user/*"]],
  ]);
});
