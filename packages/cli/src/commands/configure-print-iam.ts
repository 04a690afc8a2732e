// sally configure aws print-iam: the least that each principal may do, as policy documents within AWS's limits and the commands
// that put them in place; or the role in another account that a matcher names, with its trust policy. Needs no server and calls
// nobody. What goes into an ARN or a command is checked or escaped (S-47).
import { type KindName, kindNames } from "@sallyport/core/database";
import { kindsOf } from "@sallyport/core/discovery";
import { Failure } from "@sallyport/core/failure";
import { Region } from "@sallyport/core/name";
import {
  type Deployment,
  hasRotation,
  type Principal,
  principals,
  statementsAbroad,
  statementsFor,
} from "@sallyport/core/permission";
import {
  literal,
  type Place,
  type PolicyDocument,
  places,
  sizeOf,
  splitPolicy,
  trustDocument,
} from "@sallyport/core/policy";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../context.ts";
import { formatOption, printAs } from "../format.ts";
import { readList } from "../option.ts";
import { commandLine } from "../shell.ts";
import { say } from "../terminal.ts";

interface Options {
  readonly types: readonly string[];
  readonly principal?: readonly string[];
  readonly account: string;
  readonly region: string;
  readonly partition: string;
  readonly table: string;
  readonly prefix: string;
  readonly scope?: readonly string[];
  readonly enable?: readonly string[];
  readonly assume?: readonly string[];
  readonly auditBucket?: string;
  readonly auditKey?: string;
  readonly rootKey?: string;
  readonly rotationKey?: string;
  readonly taskCluster?: string;
  readonly attach: Place;
  readonly abroad?: string;
  readonly trust?: readonly string[];
  readonly externalId?: string;
  readonly format: "text" | "json";
}

interface Printed {
  /** The role, user or managed policy that it is for. */
  readonly name: string;
  readonly document: PolicyDocument;
  /** The command that puts it in place. */
  readonly command: readonly string[];
}

const checked =
  (pattern: RegExp, what: string) =>
  (text: string): string => {
    if (!pattern.test(text)) throw new InvalidArgumentError(`Not ${what}.`);
    return text;
  };
const many =
  (check: (text: string) => string) =>
  (text: string, earlier?: readonly string[]): readonly string[] => [...(earlier ?? []), ...readList(text).map(check)];

const roleArn = checked(/^arn:[a-z-]+:iam::\d{12}:role\/[\w+=,.@/-]+$/, "the ARN of a role");
const principalArn = checked(
  /^arn:[a-z-]+:(iam|sts)::\d{12}:(root|(role|user|assumed-role)\/[\w+=,.@/-]+)$/,
  "an IAM principal's ARN",
);
const databaseArn = checked(
  /^arn:[a-z-]+:rds:[a-z0-9*-]+:\d{12}:(db|cluster):[A-Za-z0-9*-]+$/,
  "the ARN of an instance or a cluster",
);
const externalId = checked(/^[\w+=,.@:/-]{2,1224}$/, "an external id");
const iamName = checked(/^[\w+=,.@-]{1,64}$/, "a name of IAM");
const keyArn = checked(/^arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key\/[\w-]+$/, "the ARN of a key");
const bucketName = checked(/^[a-z0-9][a-z0-9.-]{2,62}$/, "the name of a bucket");
const plain = checked(/^[\w.-]{1,64}$/, "a plain name");

/** `db-ABC`, `db-ABC/reader` or `replicationgroup:orders/app`: a `*` is a wildcard only where it stands alone. */
const readScope = (text: string): string => {
  const at = text.indexOf("/");
  const [resource, user] = at < 0 ? [text, "*"] : [text.slice(0, at), text.slice(at + 1)];
  const known = /^((db|cluster)-[A-Za-z0-9]+|(replicationgroup|serverlesscache|cluster):([a-z0-9-]+|\*)|\*)$/;
  if (!known.test(resource) || user === "" || /[\p{Cc}\s]/u.test(user))
    throw new InvalidArgumentError(
      "Not a resource id such as db-ABC… or a cache such as replicationgroup:orders, with /user where only one may log in.",
    );
  return `${resource}/${user === "*" ? "*" : literal(user)}`;
};

const deploymentOf = (options: Options, kinds: readonly KindName[]): Deployment => {
  const { partition, account, region, table, prefix, assume = [], enable = [], scope } = options;
  const { auditBucket, auditKey, rootKey, rotationKey, taskCluster } = options;
  const rotates = kinds.some(hasRotation);
  const lambda = (name: string): string =>
    `arn:${partition}:lambda:${region}:${account}:function:${prefix.replaceAll("/", "-")}-${name}`;
  return {
    partition,
    account,
    region,
    tableArn: `arn:${partition}:dynamodb:${region}:${account}:table/${table}`,
    discoverArn: lambda("discover"),
    probeArn: lambda("probe"),
    ...(rotates && { rotateArn: lambda("rotate") }),
    ...(enable.length > 0 && { enableArn: lambda("enable"), enabling: enable }),
    ...(scope && { scope }),
    ...(auditBucket !== undefined && { auditBucketArn: `arn:${partition}:s3:::${auditBucket}` }),
    ...(auditKey !== undefined && { auditKeyArn: auditKey }),
    ...(rootKey !== undefined && { rootKeyArn: rootKey }),
    ...(rotationKey !== undefined && { managedKeyArn: rotationKey }),
    ...(taskCluster !== undefined && { taskArn: `arn:${partition}:ecs:${region}:${account}:task/${taskCluster}/*` }),
    secretPrefix: prefix,
    assumable: assume,
  };
};

const readKinds = (types: readonly string[]): readonly KindName[] => {
  const found = types.map((type): readonly KindName[] => {
    const kinds = [...kindsOf(type), ...kindNames.filter((kind) => kind === type)];
    if (kinds.length === 0)
      throw new Failure("invalid", `${type} is no type of database`, { hint: `one of ${kindNames.join(", ")}` });
    return kinds;
  });
  return [...new Set(found.flat())];
};

/** Documents and the commands for them, for one role, user or set of managed policies. @throws Failure `too_large` */
const printed = (name: string, statements: Parameters<typeof splitPolicy>[0], attach: Place): readonly Printed[] => {
  const { limit, inline } = places[attach];
  const documents = splitPolicy(statements, limit);
  const size = documents.reduce((sum, document) => sum + sizeOf(document), 0);
  if (inline && size > limit)
    throw new Failure(
      "too_large",
      `${name} needs ${size} characters; a ${attach}'s inline policies hold ${limit} together`,
      {
        hint: "--attach managed",
      },
    );
  return documents.map((document, at) => {
    const part = documents.length > 1 ? `${name}-${at + 1}` : name;
    const policy = ["--policy-name", part, "--policy-document", JSON.stringify(document)];
    const verb = inline ? [`put-${attach}-policy`, `--${attach}-name`, name] : ["create-policy"];
    return { name: part, document, command: ["aws", "iam", ...verb, ...policy] };
  });
};

/** The role in another account, where discovery and the proxies are let in. */
const abroad = (name: string, options: Options, kinds: readonly KindName[]): readonly Printed[] => {
  const { trust = [], externalId: id, attach } = options;
  if (trust.length === 0)
    throw new Failure("invalid", "nobody would be let in", {
      hint: "--trust names the roles of discovery and of the proxies in their own account",
    });
  const document = trustDocument(trust, id);
  const words = ["--role-name", name, "--assume-role-policy-document", JSON.stringify(document)];
  const place = attach === "user" ? "role" : attach;
  return [
    { name, document, command: ["aws", "iam", "create-role", ...words] },
    ...printed(name, statementsAbroad(deploymentOf(options, kinds), kinds), place),
  ];
};

const act = (context: Context, options: Options): void => {
  const kinds = readKinds(options.types);
  const prefix = options.prefix.replaceAll("/", "-");
  const wanted = (options.principal ?? principals) as readonly Principal[];
  const all =
    options.abroad === undefined
      ? wanted.flatMap((principal) =>
          printed(
            `${prefix}-${principal}`,
            statementsFor(principal, deploymentOf(options, kinds), kinds),
            options.attach,
          ),
        )
      : abroad(options.abroad, options, kinds);
  printAs(
    context,
    options.format,
    all.map(({ name, document }) => ({ name, document })),
    () => {
      for (const { command } of all) say(context, commandLine(command));
    },
  );
};

const readPrincipal = (text: string): string => {
  if (!principals.some((principal) => principal === text))
    throw new InvalidArgumentError(`One of ${principals.join(", ")}.`);
  return text;
};

export const configurePrintIam = (aws: Command, context: Context): void => {
  aws
    .command("print-iam")
    .description("print the least IAM policy of each principal")
    .requiredOption("--types <types>", "types of databases: rds, …", many(String))
    .requiredOption("--account <id>", "the AWS account", checked(/^\d{12}$/, "an account id of 12 digits"))
    .requiredOption("--region <region>", "the region of the deployment", (text: string) => {
      if (!Region.safeParse(text).success) throw new InvalidArgumentError("Not a region such as eu-west-1.");
      return text;
    })
    .option("--principal <names>", `some of ${principals.join(", ")}; all when left out`, many(readPrincipal))
    .option(
      "--scope <ids>",
      "what proxies may log in to, with /user for one user: db-ABC/reader, replicationgroup:orders/app, cluster:ledger",
      many(readScope),
    )
    .option("--enable <arns>", "instances and clusters whose IAM authentication may be switched on", many(databaseArn))
    .option("--assume <arns>", "roles in other accounts that matchers name", many(roleArn))
    .addOption(new Option("--attach <place>", "where the policies go").choices(Object.keys(places)).default("role"))
    .option("--cross-account-role <name>", "print this role of another account, --account, instead", iamName)
    .option("--trust <arns>", "who may assume that role", many(principalArn))
    .option("--external-id <id>", "the external id that the matcher names", externalId)
    .option("--partition <name>", "aws, aws-cn, aws-us-gov", checked(/^aws[a-z-]*$/, "a partition"), "aws")
    .option("--audit-bucket <name>", "where the proxies' audit goes", bucketName)
    .option("--audit-key <arn>", "the key that signs how far the audit goes", keyArn)
    .option("--root-key <arn>", "the key of the proxies' certificate authority", keyArn)
    .option("--rotation-key <arn>", "the key of the secrets that hold rotated passwords", keyArn)
    .option("--task-cluster <name>", "the ECS cluster of the proxies", iamName)
    .option("--table <name>", "the deployment's table", plain, "sallyport")
    .option("--prefix <name>", "of its functions and secrets", checked(/^[\w/-]{1,64}$/, "a prefix"), "sallyport")
    .addOption(formatOption(["text", "json"]))
    .action(({ crossAccountRole, ...options }: Options & { crossAccountRole?: string }) =>
      act(context, { ...options, ...(crossAccountRole !== undefined && { abroad: crossAccountRole }) }),
    );
};
