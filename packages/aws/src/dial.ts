// The way to a database: the only place that dials one and the only TLS as a client. What is dialled is an address that was
// checked, never looked up a second time; TLS is always verified in full, against the roots and the name that discovery
// recorded. By shape this is the Upstream that packages/wire logs in through.
import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { checkServerIdentity, connect as connectTls, type TLSSocket } from "node:tls";
import type { Credential } from "@sallyport/core/credential";
import { type Database, type ProtocolFacts, protocols } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { openAddressRule } from "./address.ts";
import { openResumption } from "./resumption.ts";
import type { Roots } from "./roots.ts";
import { notAddress, unreachable, untrusted } from "./trouble.ts";

export interface Peer {
  readonly address: string;
  readonly port: number;
}

export interface Dialling {
  /** Without a protocol it is one whose servers name no others. */
  readonly database: Pick<Database, "name" | "endpoint" | "region" | "vpcId"> & Partial<Pick<Database, "protocol">>;
  readonly credential: () => Promise<Credential>;
  readonly roots: Roots;
  /** CIDRs of addresses that may be dialled although they never belong to a database on AWS. */
  readonly allow?: readonly string[];
  /** How long the way to a TCP connection, and a TLS handshake, may take, in milliseconds. */
  readonly within?: number;
  /** The addresses of a name; the system's resolver when left out. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

export interface Dialled {
  readonly database: Dialling["database"];
  tcp(at?: Peer): Promise<{ socket: Duplex; peer: Peer }>;
  secure(socket: Duplex, alpn?: string): Promise<Duplex>;
  credential(): Promise<Credential>;
}

const patience = 10_000;
const keepAliveAfter = 60_000;

const lookUp = async (host: string): Promise<readonly string[]> =>
  (await lookup(host, { all: true })).map(({ address }) => address);

export const openUpstream = (dialling: Dialling): Dialled => {
  const { database, credential, roots, within = patience, resolve = lookUp } = dialling;
  const { endpoint } = database;
  const refuses = openAddressRule(dialling.allow);
  const facts: ProtocolFacts | undefined = database.protocol && protocols[database.protocol];
  /** What this endpoint resolved to so far: nothing else is ever dialled. */
  const known = new Set<string>();

  const findPeers = async (until: number, host = endpoint.host, port = endpoint.port): Promise<readonly Peer[]> => {
    const addresses = await before(until, isIP(host) === 0 ? resolve(host) : Promise.resolve([host])).catch(
      (thrown: unknown) => {
        throw unreachable(database, [], thrown);
      },
    );
    const found = addresses.map((address) => ({ address, port, refused: refuses(address) }));
    const peers = found.filter(({ refused }) => refused === undefined).map(({ address, port }) => ({ address, port }));
    if (peers.length === 0) throw notAddress(database, found);
    for (const peer of peers) known.add(textOf(peer));
    return peers;
  };

  const dial = async (peers: readonly Peer[], until: number): Promise<{ socket: Duplex; peer: Peer }> => {
    let last: unknown;
    for (const [at, peer] of peers.entries()) {
      // an address that does not answer leaves time for the next
      const share = (until - performance.now()) / (peers.length - at);
      try {
        return { socket: await dialOne(peer, Math.max(share, 1)), peer };
      } catch (thrown) {
        last = thrown;
      }
    }
    throw unreachable(database, peers, last);
  };

  return {
    database,
    credential,
    async tcp(at) {
      const until = performance.now() + within;
      if (!at) return dial(await findPeers(until), until);
      if (known.has(textOf(at))) return dial([at], until);
      if (!facts?.namesNodes || !isNodeOf(endpoint.host, at.address))
        throw new Failure("upstream_unreachable", `${textOf(at)} is not an address of ${database.name}`);
      return dial(await findPeers(until, at.address, at.port), until);
    },
    secure: (socket, alpn) => secure(socket, { dialling, context: roots[endpoint.roots], within, alpn }),
  };
};

/** A node that a cluster names: an address, or a host of the endpoint's own domain. Its certificate must carry the endpoint's name. */
const isNodeOf = (endpoint: string, node: string): boolean =>
  isIP(node) !== 0 || node === endpoint || node.endsWith(endpoint.slice(Math.max(0, endpoint.indexOf("."))));

const dialOne = (peer: Peer, within: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: peer.address,
      port: peer.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveAfter,
    });
    const late = setTimeout(() => socket.destroy(timedOut()), within);
    // stays on: a connection may break before anybody else listens
    socket.on("error", (error) => {
      clearTimeout(late);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(late);
      resolve(socket);
    });
  });

const secure = (
  socket: Duplex,
  of: { dialling: Dialling; context: Roots["rds"]; within: number; alpn: string | undefined },
): Promise<TLSSocket> => {
  const { database } = of.dialling;
  const { host, verifyName } = database.endpoint;
  if (socket.readableLength > 0) {
    // bytes that came in the clear must never be taken for bytes that came inside TLS
    socket.destroy();
    return Promise.reject(untrusted(database, Object.assign(new Error("bytes before TLS"), { code: "EARLY_BYTES" })));
  }
  const { port } = database.endpoint;
  const resumption = openResumption(of.context, { host, port, verifyName, alpn: of.alpn });
  return new Promise((resolve, reject) => {
    const secured = connectTls({
      socket,
      session: resumption.session,
      // asked for by the name that was dialled; the certificate may carry another, as behind a custom endpoint of Aurora
      servername: isIP(host) === 0 ? host : verifyName,
      checkServerIdentity: (_, certificate) => checkServerIdentity(verifyName, certificate),
      secureContext: of.context,
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      ...(of.alpn !== undefined && { ALPNProtocols: [of.alpn] }),
    });
    resumption.watch(secured);
    const fail = (error: unknown): void => {
      clearTimeout(late);
      resumption.failed();
      secured.destroy();
      socket.destroy();
      reject(untrusted(database, error));
    };
    const late = setTimeout(() => fail(timedOut()), of.within);
    const ended = (): void => fail(Object.assign(new Error("closed during the handshake"), { code: "ECONNRESET" }));
    secured.on("error", fail);
    secured.once("close", ended);
    secured.once("secureConnect", () => {
      clearTimeout(late);
      secured.off("close", ended);
      if (!secured.authorized) return fail(secured.authorizationError);
      if (of.alpn !== undefined && secured.alpnProtocol !== of.alpn)
        return fail(
          Object.assign(new Error("no common protocol"), { code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" }),
        );
      resumption.verified();
      resolve(secured);
    });
  });
};

const before = async <T>(until: number, promise: Promise<T>): Promise<T> => {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(timedOut()), Math.max(until - performance.now(), 1));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};

const timedOut = (): Error => Object.assign(new Error("no answer in time"), { code: "ETIMEDOUT" });
const textOf = ({ address, port }: Peer): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
