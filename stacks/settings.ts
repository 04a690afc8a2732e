// What whoever deploys may choose: DEPLOY_… variables of the environment or of SST's .env files, read once and checked before
// anything is made. docs/deploy.md lists them.
import { readFileSync } from "node:fs";

export const shapes = ["open", "private", "bring"] as const;
/** Where the proxies stand: a network of our own with public addresses, one without, or one that is there already. */
export type Shape = (typeof shapes)[number];

const read = (name: string): string => (process.env[`DEPLOY_${name}`] ?? "").trim();

const wrong = (name: string, why: string): Error =>
  new Error(`DEPLOY_${name} ${why}; docs/deploy.md lists the settings`);

const list = (name: string, pattern: RegExp): readonly string[] => {
  const parts = read(name)
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const odd = parts.find((part) => !pattern.test(part));
  if (odd !== undefined) throw wrong(name, `can't hold ${JSON.stringify(odd)}`);
  return parts;
};

const text = (name: string, pattern: RegExp): string | undefined => {
  const found = read(name);
  if (found === "") return undefined;
  if (!pattern.test(found)) throw wrong(name, `can't be ${JSON.stringify(found)}`);
  return found;
};

const choice = <T extends string>(name: string, choices: readonly T[], otherwise: T): T => {
  const found = read(name) || otherwise;
  const known = choices.find((one) => one === found);
  if (known === undefined) throw wrong(name, `is one of ${choices.join(", ")}`);
  return known;
};

const number = (name: string, least: number, most: number, otherwise: number): number => {
  const found = read(name) === "" ? otherwise : Number(read(name));
  if (!Number.isInteger(found) || found < least || found > most)
    throw wrong(name, `is a number from ${least} to ${most}`);
  return found;
};

const subnet = /^subnet-[0-9a-f]+$/;
const octet = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const cidr = new RegExp(`^(${octet}\\.){3}${octet}/(3[0-2]|[12]?\\d)$`);
/** Of a /20 the third number is a multiple of 16. */
const twenty = new RegExp(`^(${octet}\\.){2}(0|16|32|48|64|80|96|112|128|144|160|176|192|208|224|240)\\.0/20$`);
const hostName = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Who may knock, where nothing is said: a public balancer is open to the world, an internal one to private addresses. */
const anyone = ["0.0.0.0/0"];
const privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/** The network that is there already. */
const existing = () => {
  const vpc = text("VPC", /^vpc-[0-9a-f]+$/);
  const tasks = list("TASK_SUBNETS", subnet);
  const balancer = list("BALANCER_SUBNETS", subnet);
  if (vpc === undefined) throw wrong("VPC", "is needed with DEPLOY_NETWORK=bring");
  if (tasks.length < 2) throw wrong("TASK_SUBNETS", "needs two subnets at least, in different zones");
  return {
    vpc,
    tasks,
    balancer: balancer.length > 0 ? balancer : tasks,
    groups: list("SECURITY_GROUPS", /^sg-[0-9a-f]+$/),
    publicTasks: choice("TASK_ADDRESSES", ["public", "private"], "private") === "public",
    publicBalancer: choice("BALANCER", ["public", "internal"], "internal") === "public",
  };
};

/** One's own certificate is what clients are told to expect, so its pins are settings, and its authority where no system knows it. */
const ownCertificate = () => {
  if (choice("CERTIFICATE", ["issued", "own"], "issued") === "issued") return undefined;
  const pins = list("PINS", /^sha256\/[A-Za-z0-9+/]{43}=$/);
  if (pins.length === 0) throw wrong("PINS", "is needed with DEPLOY_CERTIFICATE=own");
  const file = read("CA_FILE");
  return { pins, ...(file === "" ? {} : { ca: readFileSync(file, "utf8") }) };
};

/** Proxies at least and at most: the cap is also what a flood may cost. */
const tasks = (production: boolean) => {
  const most = number("MOST_TASKS", 1, 100, production ? 10 : 2);
  const least = number("TASKS", 1, 100, production ? 2 : 1);
  if (least > most) throw wrong("TASKS", "is more than DEPLOY_MOST_TASKS");
  return { least, most };
};

/** @throws Error naming the setting that is wrong */
export const readSettings = (production: boolean) => {
  const shape = choice("NETWORK", shapes, "open");
  const bring = shape === "bring" ? existing() : undefined;
  const allow = list("ALLOW", cidr);
  const open = shape === "open" || bring?.publicBalancer === true;
  return {
    shape,
    bring,
    /** From where the balancer takes connections. */
    allow: allow.length > 0 ? allow : open ? anyone : privateRanges,
    /** The network's addresses, a /20: `open` and `private` cut subnets of 256 from it. */
    cidr: text("CIDR", twenty) ?? "10.86.0.0/20",
    /** With it a `private` network reaches AWS through this gateway rather than through endpoints of its own. */
    transitGateway: text("TRANSIT_GATEWAY", /^tgw-[0-9a-f]+$/),
    /** The name people reach the proxies by, when it is not the balancer's own. */
    host: text("HOST", hostName),
    /** The certificate is one's own: certify is not deployed. */
    own: ownCertificate(),
    tasks: tasks(production),
    auditDays: number("AUDIT_DAYS", 1, 3650, production ? 365 : 1),
    /** Roles of other accounts that the proxy and discovery may assume. */
    assumable: list("ASSUMABLE_ROLES", /^arn:[\w-]+:iam::\d{12}:role\/[\w+=,.@/-]+$/),
    /** Whom the proxy may be at which databases, `resource id/user` or `replicationgroup:id/user` with wildcards; anybody anywhere where empty. */
    connectTo: list("CONNECT_TO", /^((replicationgroup|serverlesscache|cluster):)?[\w*-]+\/[\w*.@-]+$/),
    /** Instances and clusters (ARNs, with wildcards) whose IAM authentication may be switched on. */
    enabling: list("ENABLE_IAM_ON", /^arn:[\w-]+:rds:[\w*-]+:[\d*]+:(db|cluster):[\w*-]+$/),
    /** The KMS key that the passwords of managed users are kept under; Secrets Manager's own where none is named. */
    rotationKey: text("ROTATION_KEY", /^arn:[\w-]+:kms:[\w-]+:\d{12}:key\/[\w-]+$/),
    alarmEmail: text("ALARM_EMAIL", /^[^\s@]+@[^\s@]+$/),
  };
};
export type Settings = ReturnType<typeof readSettings>;
