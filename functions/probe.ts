// Logs in to a database for real, from inside the network, with what it is handed; or looks whether it is reached at all. The
// ways to dial, to TLS and to log in are the proxy's own. It has no AWS permission, keeps nothing and logs no password.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { type Dialled, openUpstream } from "@sallyport/aws/dial";
import { isHostOf } from "@sallyport/aws/host";
import { loadRoots, type Roots } from "@sallyport/aws/roots";
import { grantProbe } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { type Endpoint, kinds } from "@sallyport/core/database";
import { Failure, toFailure } from "@sallyport/core/failure";
import { type Probed, type ProbedNode, Probing } from "@sallyport/core/probe";
import { secret } from "@sallyport/core/secret";
import type { Peer, Protocol } from "@sallyport/wire/protocol";
import { protocols } from "@sallyport/wire/protocols";
import { clock, once } from "./compose.ts";
import { type JobFunction, openJob } from "./job.ts";
import { type Log, openLog } from "./log.ts";

/** What the probe needs beside its event; all of it may be left out on AWS. */
export interface ProbeParts {
  readonly roots: () => Promise<Roots>;
  /** CIDRs that may be dialled although no database on AWS is there. */
  readonly allow?: readonly string[];
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** How long one address may take, in milliseconds. */
  readonly within?: number;
}

type Event = ReturnType<typeof Probing.parse>;
const services = [...new Set(Object.values(kinds).map(({ service }) => service))];
/** More addresses than any endpoint has. */
const mostNodes = 16;
/** More nodes than any cluster has. */
const mostNamed = 500;
const patience = 8_000;

const lookUp = async (host: string): Promise<readonly string[]> =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** @throws Failure `invalid` for an endpoint that AWS gives to nobody (S-35) */
const requireAws = ({ endpoint, partition, region }: Event): void => {
  const odd = [endpoint.host, endpoint.verifyName].find(
    (host) => !services.some((service) => isHostOf(service, host, { partition, region })),
  );
  if (odd !== undefined) throw new Failure("invalid", `${odd} is not an address of an AWS database in ${region}`);
};

/** Thrown where the way is long enough: TLS is there and nobody is to log in. */
const farEnough = new Failure("ended", "nobody is to log in");

const credentialOf = (event: Event): Credential | undefined =>
  "password" in event
    ? { as: "password", user: event.user, password: secret(event.password), methods: event.methods }
    : undefined;

interface Looking extends ProbeParts {
  /** It was named by another one: what it names itself is known. */
  readonly alone?: boolean;
  /** Addresses with their ports that were looked at already. */
  readonly seen?: ReadonlySet<string>;
}

/** What came of one address, and the nodes that the server there named. */
interface Reached {
  readonly node: ProbedNode;
  readonly named: readonly Endpoint[];
}

/** One address, to its end: the socket is closed when this resolves, whatever happened. */
const probeOne = async (event: Event, parts: Looking, address: string, known: boolean): Promise<Reached> => {
  const { endpoint, database: name, region, vpcId, protocol } = event;
  const { within = patience, resolve = lookUp, allow = [], alone = false } = parts;
  const credential = credentialOf(event);
  const dialled = openUpstream({
    database: { name, endpoint, region, ...(vpcId !== undefined && { vpcId }) },
    credential: async () => credential ?? Promise.reject(farEnough),
    roots: await parts.roots(),
    allow,
    within,
    resolve: known ? async () => [address] : resolve,
  });
  const sockets: Duplex[] = [];
  let tls = false;
  const upstream: Dialled = {
    ...dialled,
    tcp: async (at) => {
      const made = await dialled.tcp(at);
      sockets.push(made.socket);
      return made;
    },
    secure: async (socket, alpn) => {
      const secured = await dialled.secure(socket, alpn);
      tls = true;
      sockets.unshift(secured);
      if (credential) return secured;
      // TLS goes before what is beneath it: the other way round takes the process down (Node 24)
      secured.destroy();
      throw farEnough;
    },
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Failure("upstream_unreachable", `${name} does not finish the login`, { hint: "try again" })),
    within * 2,
  );
  const node = { address, port: endpoint.port };
  try {
    const grant = grantProbe("user" in event ? event.user : "", "name" in event ? event.name : undefined, clock.now());
    const spoken: Protocol = protocols[protocol];
    await Promise.race([spoken.login(upstream, grant), late]);
    const named = alone ? [] : await Promise.race([spoken.nodes?.(upstream, grant) ?? [], late]);
    return { node: { ...node, result: "ok", tls }, named: named.map((one) => endpointOf(endpoint, one)) };
  } catch (thrown) {
    if (tls && !credential) return { node: { ...node, result: "ok", tls }, named: [] };
    const { code, message: reason, hint } = toFailure(thrown);
    const result = code === "upstream_refused" && tls ? "refused" : "unreachable";
    return { node: { ...node, result, tls, code, reason, ...(hint !== undefined && { hint }) }, named: [] };
  } finally {
    clearTimeout(timer);
    for (const socket of sockets) socket.destroy();
  }
};

/** A node that a server named: its certificate must carry the endpoint's name, as for the proxies. */
const endpointOf = (endpoint: Endpoint, { address: host, port }: Peer): Endpoint => ({ ...endpoint, host, port });

/** Every address of the endpoint, each to its end. */
const probeAll = async (event: Event, parts: Looking): Promise<readonly Reached[]> => {
  const { host } = event.endpoint;
  const found = isIP(host) ? [host] : await (parts.resolve ?? lookUp)(host).catch(() => []);
  const nodes = [...new Set(found)].slice(0, mostNodes);
  if (nodes.length === 0) return [await probeOne(event, parts, host, false)];
  const fresh = nodes.filter((address) => !parts.seen?.has(`${address} ${event.endpoint.port}`));
  return Promise.all(fresh.map((address) => probeOne(event, parts, address, true)));
};

/** A node of a cluster, on what the server said of it: not one step is taken towards what is not AWS's (S-35). */
const probeNamed = async (event: Event, parts: Looking, endpoint: Endpoint): Promise<readonly Reached[]> => {
  const place = { ...event, endpoint };
  try {
    if (!isIP(endpoint.host)) requireAws(place);
  } catch (thrown) {
    const { host: address, port } = endpoint;
    const { message: reason } = toFailure(thrown);
    return [
      { node: { address, port, result: "unreachable", tls: false, code: "upstream_untrusted", reason }, named: [] },
    ];
  }
  return probeAll(place, { ...parts, alone: true });
};

const textOf = ({ host, port }: Endpoint): string => `${host} ${port}`;

const probe = async (event: Event, parts: ProbeParts): Promise<Probed> => {
  requireAws(event);
  const reached = await probeAll(event, parts);
  const nodes = reached.map(({ node }) => node);
  const seen = new Set(nodes.map(({ address, port }) => `${address} ${port}`));
  const named = new Map(reached.flatMap((one) => one.named).map((endpoint) => [textOf(endpoint), endpoint]));
  const others = [...named.values()].filter(
    (endpoint) => !seen.has(textOf(endpoint)) && textOf(endpoint) !== textOf(event.endpoint),
  );
  if (others.length > mostNamed)
    throw new Failure(
      "too_large",
      `${event.database} names ${others.length} nodes: at most ${mostNamed} are looked at`,
    );
  for (const more of await Promise.all(others.map((endpoint) => probeNamed(event, { ...parts, seen }, endpoint))))
    nodes.push(...more.map(({ node }) => node));
  return { nodes };
};

export const openProbe = (parts: ProbeParts, log: Log): JobFunction =>
  openJob(parts, log, Probing, async ({ requestId }, event) => {
    const probed = await probe(event, parts);
    const { database, protocol, endpoint } = event;
    for (const { address, result, tls, code } of probed.nodes)
      log.info("probe", { requestId, database, protocol, host: endpoint.host, address, result, tls, code });
    return probed;
  });

const opened = once(() => {
  const { SALLYPORT_RDS_CA_FILE: file, SALLYPORT_UPSTREAM_ALLOW: allow = "" } = process.env;
  const roots = once(() => loadRoots(file === undefined ? {} : { file }));
  return openProbe({ roots, allow: allow.split(",").filter((part) => part.trim() !== "") }, openLog("probe"));
});

export const handler: JobFunction = (event, context) => opened()(event, context);
