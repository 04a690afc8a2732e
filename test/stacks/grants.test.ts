// S-44: what the stacks allow. Each role holds the statements of its principal in core/permission and what AWS needs to run it,
// written out here a second time; the resources refuse everybody else.
import { kindNames } from "@sallyport/core/database";
import { type Deployment, principals, type Statement, statementsFor } from "@sallyport/core/permission";
import { describe, expect, it } from "vitest";
import {
  account,
  all,
  chosen,
  functionsOf,
  inline,
  logical,
  names,
  one,
  only,
  type Rule,
  region,
  rules,
  stageOf,
} from "./graph.ts";

const lambdaArn = (stage: string, name: string): string =>
  `arn:aws:lambda:${region}:${account}:function:sallyport-${stage}-${name}`;

/** The facts as they must come out, by hand. */
const deploymentOf = (name: string): Deployment => {
  const stage = stageOf(name);
  const special = name === chosen.name;
  return {
    partition: "aws",
    account,
    region,
    tableArn: `arn:aws:dynamodb:${region}:${account}:table/TableTable`,
    discoverArn: lambdaArn(stage, "discover"),
    probeArn: lambdaArn(stage, "probe"),
    rotateArn: lambdaArn(stage, "rotate"),
    ...(special ? { managedKeyArn: chosen.settings["DEPLOY_ROTATION_KEY"] } : {}),
    ...(special
      ? { enableArn: lambdaArn(stage, "enable"), enabling: ["arn:aws:rds:us-east-1:111122223333:db:orders-*"] }
      : {}),
    ...(special ? { scope: ["db-*/reader", "cluster-*/writer", "replicationgroup:orders/app"] } : {}),
    rootKeyArn: `arn:aws:kms:${region}:${account}:RootKey`,
    auditKeyArn: `arn:aws:kms:${region}:${account}:AuditKey`,
    auditBucketArn: "arn:aws:s3:::audit",
    taskArn: `arn:aws:ecs:${region}:${account}:task/sallyport-${stage}-proxies/*`,
    secretPrefix: `sallyport/${stage}`,
    assumable: special ? ["arn:aws:iam::444455556666:role/sallyport"] : [],
  };
};

const asRules = (statements: readonly Statement[]): readonly Rule[] =>
  statements.map(({ actions, resources, conditions }) => ({
    Effect: "Allow",
    Action: actions,
    Resource: resources,
    ...(conditions && {
      Condition: Object.fromEntries(
        Object.entries(conditions).map(([test, variables]) => [
          test,
          Object.fromEntries(Object.entries(variables).map(([variable, values]) => [variable, [values].flat()])),
        ]),
      ),
    }),
  }));

const roleOf = (name: string, principal: string) =>
  one(name, "aws:iam/role:Role", principal === "proxy" ? "ProxyTaskRole" : `${logical(principal)}Role`);

const logsOf = (group: string): Rule => ({
  Effect: "Allow",
  Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
  Resource: [`arn:aws:logs:${region}:${account}:log-group:${group}:*`],
});
const interfaces = [
  "ec2:CreateNetworkInterface",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeSubnets",
  "ec2:DeleteNetworkInterface",
  "ec2:AssignPrivateIpAddresses",
  "ec2:UnassignPrivateIpAddresses",
];
const scheduled = ["certify", "discover", "rotate", "sweep"];

/** What Lambda itself needs. */
const runtimeOf = (stage: string, principal: string): readonly Rule[] => [
  logsOf(`/aws/lambda/sallyport-${stage}-${principal}`),
  ...(scheduled.includes(principal)
    ? [
        {
          Effect: "Allow",
          Action: ["sqs:SendMessage"],
          Resource: [`arn:aws:sqs:${region}:${account}:DeadLetters`],
        } as const,
      ]
    : []),
  ...(principal === "probe"
    ? [
        { Effect: "Allow", Action: interfaces, Resource: ["*"] } as const,
        {
          Effect: "Deny",
          Action: interfaces,
          Resource: ["*"],
          Condition: { ArnEquals: { "lambda:SourceFunctionArn": [lambdaArn(stage, "probe")] } },
        } as const,
      ]
    : []),
];

const allInline = (name: string): readonly Rule[] =>
  all(name, "aws:iam/role:Role").flatMap(({ inputs }) => [...inline(inputs).values()].flat());
const allowed = (name: string): readonly Rule[] => allInline(name).filter(({ Effect }) => Effect === "Allow");

describe.each(names)("%s", (name) => {
  const stage = stageOf(name);

  it("S-44 grants each function its principal's statements, its runtime's needs, and no more", () => {
    for (const principal of principals) {
      if (!functionsOf(name).includes(principal)) continue;
      const statements = asRules(statementsFor(principal, deploymentOf(name), kindNames));
      const granted = inline(roleOf(name, principal));
      expect(granted.get("statements") ?? [], principal).toEqual(statements);
      expect(granted.get("runtime"), principal).toEqual(runtimeOf(stage, principal));
      expect([...granted.keys()].filter((policy) => policy !== "statements" && policy !== "runtime")).toEqual([]);
      expect(roleOf(name, principal)["managedPolicyArns"]).toEqual([]);
    }
  });

  it("S-44 grants the proxy's task its principal's statements and no more", () => {
    const statements = asRules(statementsFor("proxy", deploymentOf(name), kindNames));
    expect([...inline(roleOf(name, "proxy"))]).toEqual([["statements", statements]]);
    expect(roleOf(name, "proxy")["managedPolicyArns"]).toBeUndefined();
  });

  it("keeps each role's own policies within what IAM takes", () => {
    for (const { name: called, inputs } of all(name, "aws:iam/role:Role")) {
      const policies = (inputs["inlinePolicies"] ?? []) as readonly { readonly policy: unknown }[];
      const texts = policies.map(({ policy }) => (typeof policy === "string" ? policy : JSON.stringify(policy)));
      const size = texts.join("").replace(/\s/g, "").length;
      expect(size, called).toBeLessThanOrEqual(10_240);
    }
  });

  it("S-44 lets ECS fetch the image and open the log, and nothing else", () => {
    const role = one(name, "aws:iam/role:Role", "ProxyExecutionRole");
    const repository = [`arn:aws:ecr:${region}:${account}:repository/sst-asset`];
    const layers = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"];
    expect([...inline(role).values()].flat()).toEqual([
      { Effect: "Allow", Action: ["ecr:GetAuthorizationToken"], Resource: ["*"] },
      { Effect: "Allow", Action: layers, Resource: repository },
      logsOf(`/sallyport/${stage}/proxy`),
    ]);
    expect(role["managedPolicyArns"]).toEqual([]);
  });

  it("S-44 lets a schedule start its one function and leave a letter", () => {
    for (const job of scheduled.filter((each) => functionsOf(name).includes(each))) {
      const role = one(name, "aws:iam/role:Role", `${logical(job)}ScheduleRole`);
      expect([...inline(role).values()].flat().map(({ Action, Resource }) => [Action, Resource])).toEqual([
        [["lambda:InvokeFunction"], [`arn:aws:lambda:${region}:${account}:${logical(job)}Function`]],
        [["sqs:SendMessage"], [`arn:aws:sqs:${region}:${account}:DeadLetters`]],
      ]);
    }
  });

  it("S-44 has no role besides these, and no policy beside a role's own", () => {
    const schedules = scheduled
      .filter((each) => functionsOf(name).includes(each))
      .map((job) => `${logical(job)}ScheduleRole`);
    const roles = [
      ...functionsOf(name).map((each) => `${logical(each)}Role`),
      ...schedules,
      "ProxyTaskRole",
      "ProxyExecutionRole",
    ];
    expect(
      all(name, "aws:iam/role:Role")
        .map((role) => role.name)
        .sort(),
    ).toEqual(roles.sort());
    const others = [
      "rolePolicy:RolePolicy",
      "policy:Policy",
      "rolePolicyAttachment:RolePolicyAttachment",
      "user:User",
      "group:Group",
    ];
    for (const other of others) expect(all(name, `aws:iam/${other}`)).toEqual([]);
  });

  it("S-44 lets nobody but the service that runs it assume a role", () => {
    for (const { name: role, inputs } of all(name, "aws:iam/role:Role")) {
      const service = role.endsWith("ScheduleRole") ? "scheduler" : role.startsWith("Proxy") ? "ecs-tasks" : "lambda";
      const trusted = rules(inputs["assumeRolePolicy"]).map(({ Effect, Action, Principal }) => ({
        Effect,
        Action,
        Principal,
      }));
      expect(trusted, role).toEqual([
        { Effect: "Allow", Action: ["sts:AssumeRole"], Principal: { Service: `${service}.amazonaws.com` } },
      ]);
    }
  });

  it("S-44 passes no role on", () => {
    expect(allowed(name).length).toBeGreaterThan(principals.length);
    expect(
      allowed(name)
        .flatMap(({ Action }) => Action)
        .filter((action) => /^iam:/i.test(action)),
    ).toEqual([]);
  });

  it("S-44 grants no action by wildcard, and on every resource only what has none", () => {
    const actions = allowed(name).flatMap(({ Action }) => Action);
    expect(actions.filter((action) => action.includes("*"))).toEqual([]);
    const everywhere = allowed(name).filter(({ Resource }) => [Resource].flat().includes("*"));
    // listings of the account, the registry's token, and interfaces that Lambda makes and the code may not touch
    const listing = /^(rds|redshift-serverless|elasticache|memorydb|docdb-elastic):(Describe|List)/;
    const rest = everywhere.flatMap(({ Action }) => Action).filter((action) => !listing.test(action));
    expect(rest.filter((action) => !interfaces.includes(action) && action !== "ecr:GetAuthorizationToken")).toEqual([]);
  });

  it("S-44 keeps changing databases and rotating away from discovery", () => {
    const changes = /^(rds|elasticache|memorydb|redshift-serverless):(Modify|Create|Update|Delete|Reset)/;
    for (const principal of functionsOf(name).filter((each) => each !== "enable" && each !== "rotate")) {
      const actions = [...inline(roleOf(name, principal)).values()].flat().flatMap(({ Action }) => Action);
      expect(
        actions.filter((action) => changes.test(action)),
        principal,
      ).toEqual([]);
    }
    const discovery = [...inline(roleOf(name, "discover")).values()].flat().flatMap(({ Action }) => Action);
    expect(discovery.filter((action) => action.startsWith("secretsmanager:") || action.startsWith("kms:"))).toEqual([]);
  });

  it("S-44 lets rotate change users of caches that carry the tag, and nothing else", () => {
    const own = inline(roleOf(name, "rotate")).get("statements") ?? [];
    const changes = own.filter(({ Action }) => Action.some((action) => !/:(Describe|List|Get|Query)/.test(action)));
    const users = changes.filter(({ Action }) => Action.some((action) => /^(elasticache|memorydb):/.test(action)));
    expect(new Set(users.flatMap(({ Action }) => Action))).toEqual(
      new Set(["elasticache:ModifyUser", "memorydb:UpdateUser"]),
    );
    for (const { Resource, Condition } of users) {
      for (const arn of [Resource].flat()) expect(arn).toMatch(/:user[:/]\*$/);
      const keys = Object.values(Condition ?? {}).flatMap((test) => Object.keys(test));
      expect(keys.filter((key) => /^aws:ResourceTag\/(sallyport|teleport\.dev)\/managed$/.test(key))).not.toEqual([]);
    }
    const others = changes.filter((rule) => !users.includes(rule)).flatMap(({ Action }) => Action);
    expect(others.filter((action) => !/^(dynamodb|secretsmanager|kms|lambda|sts):/.test(action))).toEqual([]);
  });

  it("S-44 reads secrets below the deployment's own prefix only", () => {
    const reading = allowed(name).filter(({ Action }) => Action.some((action) => action.startsWith("secretsmanager:")));
    expect(reading.length).toBeGreaterThan(0);
    const prefix = `arn:aws:secretsmanager:${region}:${account}:secret:sallyport/${stage}/`;
    for (const { Resource } of reading)
      for (const arn of [Resource].flat()) expect(arn).toMatch(new RegExp(`^${prefix}`));
  });

  it("S-44 signs with a key by one role each: KMS refuses everybody else", () => {
    const signers = [
      ["RootKeyPolicy", name === chosen.name ? [] : ["CertifyRole"]],
      ["AuditKeyPolicy", ["ProxyTaskRole"]],
    ] as const;
    const digests = { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } };
    for (const [policy, roles] of signers) {
      const [administer, ...sign] = rules(one(name, "aws:kms/keyPolicy:KeyPolicy", policy)["policy"]);
      expect(administer).toMatchObject({ Effect: "Allow", Principal: { AWS: `arn:aws:iam::${account}:root` } });
      expect(administer?.Action.filter((action) => /\*|:Sign$|Grant$|Decrypt/.test(action))).toEqual([]);
      expect(sign.map(({ Action, Principal, Condition }) => [Action, Principal, Condition])).toEqual(
        roles.map((role) => [["kms:Sign"], { AWS: `arn:aws:iam::${account}:role/${role}` }, digests]),
      );
      // whoever removes the deployment removes the keys' names, for which KMS asks the key as well
      expect(administer?.Action).toEqual(expect.arrayContaining(["kms:DeleteAlias", "kms:ScheduleKeyDeletion"]));
    }
    for (const { inputs } of all(name, "aws:kms/key:Key"))
      expect(inputs).toMatchObject({ customerMasterKeySpec: "ECC_NIST_P256", keyUsage: "SIGN_VERIFY" });
  });

  it("S-44 refuses the table's writes to everybody but those who write it", () => {
    const [rule, ...others] = rules(only(name, "aws:dynamodb/resourcePolicy:ResourcePolicy")["policy"]);
    expect(others).toEqual([]);
    expect(rule).toMatchObject({ Effect: "Deny", Principal: "*" });
    expect(rule?.Action).toEqual(
      expect.arrayContaining([
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
        "dynamodb:BatchWriteItem",
      ]),
    );
    const writers = [...functionsOf(name).filter((each) => each !== "probe"), "proxy"];
    const roles = writers.map(
      (each) => `arn:aws:iam::${account}:role/${each === "proxy" ? "ProxyTaskRole" : `${logical(each)}Role`}`,
    );
    const spared = rule?.Condition?.["ArnNotEquals"]?.["aws:PrincipalArn"] as readonly string[];
    expect([...spared].sort()).toEqual(roles.sort());
  });

  it("S-44 refuses the certificate's key to everybody but proxies and its issuer", () => {
    const found = rules(only(name, "aws:secretsmanager/secretPolicy:SecretPolicy")["policy"]);
    const role = (called: string) => `arn:aws:iam::${account}:role/${called}`;
    const issuer = name === chosen.name ? [] : [role("CertifyRole")];
    expect(found[0]).toMatchObject({
      Effect: "Deny",
      Action: ["secretsmanager:GetSecretValue"],
      Condition: { ArnNotEquals: { "aws:PrincipalArn": [role("ProxyTaskRole"), ...issuer] } },
    });
    expect(found.slice(1).map(({ Condition }) => Condition)).toEqual(
      issuer.map((arn) => ({ ArnNotEquals: { "aws:PrincipalArn": [arn] } })),
    );
  });
});
