// The laptop's databases: an instance or cluster in the emulated API, a front on a loopback address for each member, and the names
// that lead there. A front lets in whoever shows a token that AWS would take: for this endpoint, this user, in time, signed
// by somebody whose policy says rds-db:connect.

import type { DBCluster, DBClusterEndpoint, DBInstance } from "@aws-sdk/client-rds";
import type { Workgroup } from "@aws-sdk/client-redshift-serverless";
import { type Account, keysOf } from "./account.ts";
import type { CacheUsers } from "./cache-users.ts";
import { type AccountCaches, openCaches } from "./caches.ts";
import type { Authority } from "./certificate.ts";
import type { Ask, Front, FrontOptions } from "./front.ts";
import { type Hosts, writeHosts } from "./hosts.ts";
import { type Front as MongoFront, startMongoFront } from "./mongodb/front.ts";
import type { MongoServer } from "./mongodb/server.ts";
import type { Front as PostgresFront } from "./postgres/front.ts";
import type { Postgres } from "./postgres/server.ts";
import type { ClusterSpec, InstanceSpec } from "./rds-record.ts";
import { disguise, startRedshiftFront } from "./redshift/front.ts";
import type { Elasticache } from "./services/elasticache.ts";
import type { Memorydb } from "./services/memorydb.ts";
import type { Rds } from "./services/rds.ts";
import type { RedshiftServerless, WorkgroupSpec } from "./services/redshift-serverless.ts";
import { verifyToken } from "./signature.ts";

/** What is the same for every protocol. */
type AnyFront = Omit<Front, "misbehave">;

/** A database server that can be put behind a front: postgres/server.ts, mariadb/server.ts. The engine that RDS shows is the spec's to say. */
export interface Server<F extends AnyFront> {
  front(options: Omit<FrontOptions, "upstream">): Promise<F>;
}

export interface Databases extends AccountDatabases {
  /** Those of another account. */
  of(account: Account): AccountDatabases;
  /** Where a host leads from now on, as whoever holds the resolver may say; answers how to undo it. */
  bend(host: string, addresses: readonly string[]): () => void;
  close(): Promise<void>;
}

export interface AccountDatabases extends AccountCaches {
  /** An instance on this server. Its port is the front's. */
  addInstance<F extends AnyFront>(
    spec: InstanceSpec,
    server: Server<F>,
  ): Promise<{ readonly record: DBInstance; readonly front: F }>;
  /** An Aurora cluster, or a Multi-AZ one by its engine: the first server is the writer, the reader endpoint alternates between the others. */
  addCluster<F extends AnyFront>(
    spec: ClusterSpec,
    servers: readonly Server<F>[],
  ): Promise<{ readonly record: DBCluster; readonly fronts: readonly F[] }>;
  /** A DocumentDB cluster of two members on this server: a writer and a reader, until `failover` makes the reader the writer. */
  addDocumentCluster(
    spec: ClusterSpec,
    server: Pick<MongoServer, "open" | "hasUser">,
  ): Promise<{ readonly record: DBCluster; readonly fronts: readonly MongoFront[]; failover(): void }>;
  /** A workgroup of Redshift Serverless on this PostgreSQL, reached by VPC endpoints too where they are named. */
  addWorkgroup(
    spec: WorkgroupSpec & { readonly endpoints?: readonly string[]; readonly databases?: readonly string[] },
    server: Pick<Postgres, "socket" | "sql">,
  ): Promise<{ readonly record: Workgroup; readonly front: PostgresFront }>;
  /** A custom endpoint of an Aurora cluster, which alternates between these of its members. Certificates and tokens stay the cluster's. */
  addCustomEndpoint(
    spec: { readonly cluster: string; readonly id: string },
    members: readonly Pick<AnyFront, "host">[],
  ): DBClusterEndpoint;
}

interface Place {
  /** Home. */
  readonly account: Account;
  readonly region: string;
  readonly accounts: readonly Account[];
  readonly rds: Rds;
  readonly redshift: RedshiftServerless;
  readonly cacheUsers: CacheUsers;
  readonly elasticache: Elasticache;
  readonly memorydb: Memorydb;
  readonly authority: Authority;
  readonly hostsFile: string;
  readonly now: () => number;
}

/** Loopback addresses, one a front: several members of a cluster share one port, as on AWS. */
const addresses = function* (): Generator<string, never> {
  for (let at = 2; ; at++) yield `127.0.${Math.floor(at / 250)}.${(at % 250) + 1}`;
};

export const openDatabases = (place: Place): Databases => {
  const { region, rds, redshift } = place;
  const next = addresses();
  const opened: AnyFront[] = [];
  const hosts = new Map<string, readonly string[]>();

  const name = (entries: Hosts): void => {
    for (const [host, to] of Object.entries(entries)) hosts.set(host.toLowerCase(), to);
    writeHosts(place.hostsFile, Object.fromEntries(hosts));
  };

  const caches = openCaches({ ...place, users: place.cacheUsers, address: () => next.next().value, name });

  /** Would AWS let this token in? Never throws: a token that can't be read is a wrong one. */
  const check = (account: Account, ask: Ask, names: readonly string[], resourceId: string): boolean => {
    try {
      const { identity } = verifyToken({
        token: ask.password.reveal(),
        service: "rds-db",
        host: names.map((host) => `${host}:${ask.port}`),
        region,
        expect: { Action: "connect", DBUser: ask.user },
        credentials: keysOf(place.accounts),
        now: place.now(),
      });
      return account.may(
        identity,
        "rds-db:connect",
        `arn:aws:rds-db:${region}:${account.id}:dbuser:${resourceId}/${ask.user}`,
      );
    } catch {
      return false;
    }
  };

  const open = async <F extends AnyFront>(
    account: Account,
    server: Server<F>,
    known: () => { names: readonly string[]; resourceId: string },
    names: readonly string[],
    port?: number,
  ) => {
    const front = await server.front({
      identity: await place.authority.issue(names),
      check: (ask) => check(account, ask, known().names, known().resourceId),
      host: next.next().value,
      ...(port !== undefined && { port }),
    });
    opened.push(front);
    return front;
  };

  const of = (account: Account): AccountDatabases => ({
    ...caches.of(account),

    async addInstance(spec, server) {
      // the record decides the names, and needs the port that only the front knows
      const where = { accountId: account.id, region };
      const draft = rds.addInstance(where, spec);
      const host = draft.Endpoint?.Address ?? "";
      const front = await open(account, server, () => ({ names: [host], resourceId: draft.DbiResourceId ?? "" }), [
        host,
      ]);
      name({ [host]: [front.host] });
      rds.change(where, spec.id, { Endpoint: { ...draft.Endpoint, Port: front.port } });
      return { record: { ...draft, Endpoint: { ...draft.Endpoint, Port: front.port } }, front };
    },

    async addCluster<F extends AnyFront>(spec: ClusterSpec, servers: readonly Server<F>[]) {
      const where = { accountId: account.id, region };
      const draft = rds.addCluster(where, spec);
      const [primary = "", reader = ""] = [draft.Endpoint, draft.ReaderEndpoint];
      const names = [primary, reader];
      const known = { names, resourceId: draft.DbClusterResourceId ?? "" };
      const members: F[] = [];
      for (const server of servers) members.push(await open(account, server, () => known, names, members[0]?.port));
      const [writer, ...readers] = members.map((front) => front.host);
      name({ [primary]: writer === undefined ? [] : [writer], [reader]: readers });
      const port = members[0]?.port ?? 5432;
      rds.change(where, spec.id, { Port: port });
      for (const at of servers.keys()) rds.addInstance(where, { id: `${spec.id}-${at + 1}`, cluster: spec.id, port });
      return { record: { ...draft, Port: port }, fronts: members };
    },

    async addDocumentCluster(spec, server) {
      const where = { accountId: account.id, region };
      const draft = rds.addCluster(where, { ...spec, engine: "docdb" });
      const [primary = "", reader = ""] = [draft.Endpoint, draft.ReaderEndpoint];
      const ids = [`${spec.id}-1`, `${spec.id}-2`];
      const fronts: MongoFront[] = [];
      let writer = 0;
      const port = (): number => fronts[0]?.port ?? 27_017;
      const nameOf = (at: number): string => `${ids[at]}.${primary.slice(primary.indexOf(".cluster-") + 9)}`;
      const hosts = (): readonly string[] => ids.map((_, at) => `${nameOf(at)}:${port()}`);
      for (const at of ids.keys())
        fronts.push(
          await startMongoFront({
            server,
            identity: await place.authority.issue([primary, reader, nameOf(at)]),
            member: () => ({
              writer: at === writer,
              me: hosts()[at] ?? "",
              primary: hosts()[writer] ?? "",
              hosts: hosts(),
            }),
            verifier: {
              credentials: keysOf(place.accounts),
              now: place.now,
              host: `sts.${region}.amazonaws.com`,
              region,
            },
            host: next.next().value,
            ...(at > 0 && { port: port() }),
          }),
        );
      opened.push(...fronts);
      const point = (): void =>
        name({
          ...Object.fromEntries(fronts.map((front, at) => [nameOf(at), [front.host]])),
          [primary]: [fronts[writer]?.host ?? ""],
          [reader]: fronts.flatMap((front, at) => (at === writer ? [] : [front.host])),
        });
      point();
      rds.change(where, spec.id, { Port: port() });
      for (const id of ids) rds.addInstance(where, { id, cluster: spec.id, port: port() });
      return {
        record: { ...draft, Port: port() },
        fronts,
        failover: () => {
          // the old writer restarts as a reader: its connections end
          const before = fronts[writer];
          writer = 1 - writer;
          rds.failover(where, spec.id, ids[writer] ?? "");
          point();
          before?.cut();
        },
      };
    },

    async addWorkgroup({ endpoints = [], databases = [], ...spec }, server) {
      const where = { accountId: account.id, region };
      const draft = redshift.addWorkgroup(where, spec);
      const host = draft.endpoint?.address ?? "";
      await disguise(server, databases);
      const front = await startRedshiftFront({
        postgres: server,
        identity: await place.authority.issue([host]),
        temporary: () => redshift.temporary(where, spec.name),
        host: next.next().value,
      });
      opened.push(front);
      const { port } = front;
      redshift.change(where, spec.name, { port, endpoint: { ...draft.endpoint, port } });
      const others = endpoints.map((name) => redshift.addEndpoint(where, { name, workgroup: spec.name, port }));
      name(Object.fromEntries([host, ...others.map(({ address = "" }) => address)].map((one) => [one, [front.host]])));
      return { record: { ...draft, port, endpoint: { ...draft.endpoint, port } }, front };
    },

    addCustomEndpoint(spec, members) {
      const endpoint = rds.addCustomEndpoint({ accountId: account.id, region }, spec);
      name({ [endpoint.Endpoint ?? ""]: members.map(({ host }) => host) });
      return endpoint;
    },
  });

  return {
    ...of(place.account),
    of,
    bend(host, to) {
      const before = hosts.get(host.toLowerCase()) ?? [];
      name({ [host]: to });
      return () => name({ [host]: before });
    },
    async close() {
      await Promise.all([...opened.map((front) => front.close()), caches.close()]);
    },
  };
};
