// An AWS account on a laptop, with Sallyport deployed in it: emulated endpoints, real databases behind fronts, the functions
// behind a gateway, proxies as processes behind a balancer, each under its own role. The real code runs in it unchanged.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProtocolName } from "@sallyport/core/database";
import { defaultNetwork, type Networks } from "@sallyport/core/network";
import { type Account, type Credentials, openAccount } from "./account.ts";
import { openBalancer } from "./balancer.ts";
import type { CacheUsers } from "./cache-users.ts";
import { type Authority, createAuthority } from "./certificate.ts";
import { type Databases, openDatabases } from "./databases.ts";
import {
  addAuditBucket,
  auditBucket,
  auditKey,
  cancelSecret,
  certSecret,
  deploy,
  instanceName,
  keysEnv,
  prefix,
  rootKey,
  sessionOf,
  table,
} from "./deployment.ts";
import { type Endpoint, openEndpoint } from "./endpoint.ts";
import { type Door, type Fleet, openFleet, type ProxyTask } from "./fleet.ts";
import { type FunctionRuntime, openFunctions } from "./functions.ts";
import { openGateway } from "./gateway.ts";
import { preload, writeHosts } from "./hosts.ts";
import { openSchedule, type Schedule } from "./schedule.ts";
import type { Elasticache } from "./services/elasticache.ts";
import type { Memorydb } from "./services/memorydb.ts";
import type { Rds } from "./services/rds.ts";
import type { RedshiftServerless } from "./services/redshift-serverless.ts";
import type { S3 } from "./services/s3.ts";
import type { Sts } from "./services/sts.ts";
import { openServices } from "./services.ts";
import { readTrail } from "./trail.ts";

export interface Laptop {
  readonly account: Account;
  /** The accounts beside it. */
  readonly others: readonly Account[];
  readonly region: string;
  /** The emulated AWS: its URL, the calls made, faults on demand. */
  readonly aws: Endpoint;
  readonly rds: Rds;
  readonly redshift: RedshiftServerless;
  readonly elasticache: Elasticache;
  readonly memorydb: Memorydb;
  /** The users of both, and what their servers follow. */
  readonly cacheUsers: CacheUsers;
  /** Who assumed which role. */
  readonly sts: Sts;
  readonly databases: Databases;
  /** An authority that is not the deployment's own: the one behind a certificate of one's own, and behind impostors. */
  readonly authority: Authority;
  /** What stands for AWS's own authority: the databases' certificates are its. */
  readonly rdsAuthority: Authority;
  /** The HTTPS API of Sallyport (plain HTTP on loopback here). */
  readonly api: string;
  readonly runtime: FunctionRuntime;
  readonly schedule: Schedule;
  /** Where people's clients connect. */
  readonly ports: Readonly<Record<Door, number>>;
  /** The root that the proxies' certificate chains to: a file for clients that want one. */
  readonly caFile: string;
  readonly s3: S3;
  /** The lines of the audit, of all proxies or of one: in the bucket, or on their way there. */
  trail(proxy?: string): Promise<readonly string[]>;
  /** Somebody who may invoke bootstrap, and nothing else. */
  readonly operator: Credentials;
  /** What a process needs to be in this account with these keys. */
  envOf(credentials: Credentials): Readonly<Record<string, string>>;
  /** One more proxy task behind the balancer. */
  startProxy(env?: Readonly<Record<string, string>>): Promise<ProxyTask>;
  /** Ends a task and takes it off the balancer. */
  stopProxy(task: ProxyTask, signal?: NodeJS.Signals): Promise<void>;
  /** A deployment of the next revision; see Fleet. */
  rollProxies: Fleet["roll"];
  proxies(): readonly ProxyTask[];
  close(): Promise<void>;
}

const functionNames = ["api", "bootstrap", "certify", "discover", "enable", "probe", "rotate", "sweep"] as const;
const minute = 60_000;
const entryOf = (path: string): string => new URL(`../../../${path}`, import.meta.url).href;

export interface LaptopOptions {
  /** Fixed ports for what people type; any free ones when absent. */
  readonly ports?: Readonly<Partial<Record<Door | "api", number>>>;
  /** Environment for every function, over the usual. */
  readonly functionEnv?: Readonly<Record<string, string>>;
  /** Ids of accounts beside the one that Sallyport is deployed in; it may assume the role sallyport-reach there, if there is one. */
  readonly others?: readonly string[];
  /** What time it is at AWS. The functions and proxies are told by their own environment. Default the machine's clock. */
  readonly now?: () => number;
  /** The proxies show a certificate of one's own, from files, instead of the one that certify issues. */
  readonly ownCertificate?: boolean;
}

/** Opens the whole; close() leaves nothing behind: no process, no port, no file. */
export const openLaptop = async (options: LaptopOptions = {}): Promise<Laptop> => {
  const { now = Date.now } = options;
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await assemble(options, now, (step) => undo.push(step), close);
  } catch (thrown) {
    await close();
    throw thrown;
  }
};

/** The authority of the emulated RDS, one of one's own with a certificate for the proxies, and the files they are read from. */
const writeTrust = async (folder: string, now: number) => {
  const authority = await createAuthority({ now });
  const rdsAuthority = await createAuthority({ now, name: "Laptop RDS root" });
  const certificate = await authority.issue(["localhost", "127.0.0.1"]);
  const files = {
    ca: join(folder, "ca.pem"),
    cert: join(folder, "proxy.pem"),
    key: join(folder, "proxy.key"),
    rdsCa: join(folder, "rds-ca.pem"),
    hosts: join(folder, "hosts.json"),
    volumes: join(folder, "volumes"),
  };
  await mkdir(files.volumes, { mode: 0o700 });
  await writeFile(files.cert, certificate.cert);
  await writeFile(files.key, certificate.key, { mode: 0o600 });
  await writeFile(files.rdsCa, rdsAuthority.ca);
  writeHosts(files.hosts, {});
  return { authority, rdsAuthority, certificate, files };
};

const assemble = async (
  options: LaptopOptions,
  now: () => number,
  undo: (step: () => Promise<unknown>) => void,
  close: () => Promise<void>,
): Promise<Laptop> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-"));
  undo(() => rm(folder, { recursive: true, force: true }));
  const account = openAccount({ now });
  const { region } = account;
  const others = (options.others ?? []).map((id) => openAccount({ id, region, now }));
  const accounts = [account, ...others] as const;

  // the runtime is opened last, since functions need the addresses of all the rest
  let runtime: FunctionRuntime | undefined;
  const invoke = (name: string, event: unknown, requestId?: string): Promise<unknown> => {
    if (!runtime) throw new Error("the functions are not there yet");
    return runtime.invoke(name, event, requestId);
  };
  const services = await openServices({
    accounts,
    now,
    functions: {
      has: (name) => runtime?.has(name) ?? false,
      invoke: ({ functionName, payload, requestId }) => invoke(functionName, payload, requestId),
    },
  });
  undo(() => services.close());
  addAuditBucket(services.s3, account);
  const aws = await openEndpoint({ accounts, services: services.apis, now });
  undo(() => aws.close());
  const operator = await deploy(account, (credentials) => ({ endpoint: aws.url, region, credentials }), others);

  const own = options.ownCertificate ?? false;
  const { authority, rdsAuthority, certificate, files } = await writeTrust(folder, now());

  const balancers = {
    postgres: await openBalancer(options.ports?.postgres),
    mysql: await openBalancer(options.ports?.mysql),
    mongodb: await openBalancer(options.ports?.mongodb),
    redis: await openBalancer(options.ports?.redis),
    gate: await openBalancer(options.ports?.gate),
  };
  for (const balancer of Object.values(balancers)) undo(() => balancer.close());
  const plainPorts = {
    postgres: balancers.postgres.port,
    mysql: balancers.mysql.port,
    mongodb: balancers.mongodb.port,
    redis: balancers.redis.port,
  };
  const databases = openDatabases({
    account,
    region,
    accounts,
    rds: services.rds,
    redshift: services.redshift,
    cacheUsers: services.cacheUsers,
    elasticache: services.elasticache,
    memorydb: services.memorydb,
    authority: rdsAuthority,
    hostsFile: files.hosts,
    now,
  });
  undo(() => databases.close());

  const gateway = await openGateway({
    invoke: (event, requestId) => invoke("api", event, requestId),
    now,
    ...(options.ports?.api !== undefined && { port: options.ports.api }),
  });
  undo(() => gateway.close());

  const networks: Networks = {
    [defaultNetwork]: {
      gate: {
        host: "localhost",
        port: balancers.gate.port,
        ...(own && { pins: [certificate.pin], ca: certificate.ca }),
      },
      direct: { host: "localhost", ports: plainPorts, ...(own && { ca: certificate.ca }) },
    },
  };
  const reach = { SALLYPORT_RDS_CA_FILE: files.rdsCa, SALLYPORT_UPSTREAM_ALLOW: "127.0.0.0/8" };
  const base = { AWS_REGION: region, AWS_ENDPOINT_URL: aws.url, SALLYPORT_TABLE: table };
  const functionEnv = {
    ...base,
    SALLYPORT_NETWORKS: JSON.stringify(networks),
    SALLYPORT_DISCOVER_FUNCTION: "discover",
    SALLYPORT_ENABLE_FUNCTION: "enable",
    SALLYPORT_PROBE_FUNCTION: "probe",
    SALLYPORT_ROTATE_FUNCTION: "rotate",
    SALLYPORT_API_URL: gateway.url,
    ...options.functionEnv,
  };
  runtime = openFunctions(
    Object.fromEntries(
      functionNames.map((name) => [
        name,
        {
          entry: entryOf(`functions/${name}.ts`),
          arn: `arn:aws:lambda:${region}:${account.id}:function:${name}`,
          env: {
            ...functionEnv,
            // where the proxies stand, it sees what they see
            ...(name === "probe" && { ...reach, ...preload(files.hosts).env }),
            ...(name === "rotate" && { SALLYPORT_SECRET_PREFIX: prefix }),
            ...(name === "certify" && { SALLYPORT_ROOT_KEY: rootKey, SALLYPORT_CERT_SECRET: certSecret }),
            ...keysEnv(sessionOf(account, name)),
          },
          ...(name === "probe" && { flags: preload(files.hosts).flags }),
          // a tick waits for the lease of one that died
          timeoutMs: name === "rotate" ? 120_000 : 30_000,
        },
      ]),
    ),
  );
  const opened = runtime;
  undo(() => opened.close());
  // as a deployment does before its first proxy starts
  const { ca } = own ? certificate : ((await opened.invoke("certify", {})) as { ca: string });
  await writeFile(files.ca, ca);

  const schedule = openSchedule(
    [
      { name: "discover", everyMs: 5 * minute },
      { name: "rotate", everyMs: minute },
      { name: "sweep", everyMs: minute },
      { name: "certify", everyMs: 60 * minute },
    ],
    (name) => opened.invoke(name, {}),
    now(),
  );
  undo(async () => schedule.stop());

  const fleet = openFleet({
    account,
    now,
    balancers,
    credentials: () => {
      const name = instanceName("proxy");
      return () => sessionOf(account, "proxy", name);
    },
    hostsFile: files.hosts,
    volumes: files.volumes,
    env: {
      ...base,
      SALLYPORT_NETWORK: defaultNetwork,
      SALLYPORT_NETWORKS: JSON.stringify(networks),
      ...(own
        ? { SALLYPORT_CERT_FILE: files.cert, SALLYPORT_KEY_FILE: files.key }
        : { SALLYPORT_CERT_SECRET: certSecret }),
      SALLYPORT_LISTEN_HOST: "127.0.0.1",
      SALLYPORT_PEER_ADDRESS: "127.0.0.1",
      SALLYPORT_PLAIN_PORTS: JSON.stringify({ postgres: 0, mysql: 0, mongodb: 0, redis: 0 } satisfies Record<
        ProtocolName,
        number
      >),
      SALLYPORT_GATE_PORT: "0",
      SALLYPORT_HEALTH_PORT: "0",
      SALLYPORT_PEER_PORT: "0",
      SALLYPORT_CANCEL_SECRET: cancelSecret,
      SALLYPORT_AUDIT_BUCKET: auditBucket,
      SALLYPORT_AUDIT_KEY: auditKey,
      ...reach,
      SALLYPORT_DRAIN_SECONDS: "10",
    },
  });
  undo(() => fleet.close());

  return {
    account,
    others,
    region,
    aws,
    rds: services.rds,
    redshift: services.redshift,
    elasticache: services.elasticache,
    memorydb: services.memorydb,
    cacheUsers: services.cacheUsers,
    sts: services.sts,
    databases,
    authority,
    rdsAuthority,
    api: gateway.url,
    runtime,
    schedule,
    ports: { ...plainPorts, gate: balancers.gate.port },
    caFile: files.ca,
    s3: services.s3,
    trail: (proxy) => readTrail({ s3: services.s3, bucket: auditBucket, volumes: files.volumes }, proxy),
    operator,
    envOf: (credentials) => ({
      AWS_REGION: region,
      AWS_ENDPOINT_URL: aws.url,
      SALLYPORT_BOOTSTRAP_FUNCTION: "bootstrap",
      ...keysEnv(credentials),
    }),
    startProxy: fleet.start,
    stopProxy: fleet.stop,
    rollProxies: fleet.roll,
    proxies: fleet.tasks,
    close,
  };
};
