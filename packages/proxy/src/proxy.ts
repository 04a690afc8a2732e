// The proxy put together: ports, one login, sessions under watch, and a way to go that tells everybody. Everything it
// touches is an argument, so that tests run this very composition with a clock and a table of their own.
import type { Server } from "node:net";
import type { Grant } from "@sallyport/core/access";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { AuditSink, Clock, Digest, Random, Signer, Store } from "@sallyport/core/ports";
import type { Secret } from "@sallyport/core/secret";
import { heartbeatEvery } from "@sallyport/core/session";
import type { Upstream } from "@sallyport/wire/protocol";
import { type Admissions, openAdmissions } from "./admission.ts";
import { openAllowance, openPlaces, type Rate } from "./allowance.ts";
import { fullFrom } from "./audit.ts";
import { openCancels } from "./cancel.ts";
import { openGate } from "./gate.ts";
import { openHeads } from "./heads.ts";
import { openHealth } from "./health.ts";
import { openHeartbeat } from "./heartbeat.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { listen, openPort, type Waiting } from "./listen.ts";
import type { Log } from "./log.ts";
import { type AnyProtocol, openLogin, type Visit } from "./login.ts";
import { openNeighbours } from "./neighbours.ts";
import { openNotary } from "./notary.ts";
import { openPeerPort, openPeers } from "./peer.ts";
import { openWish, type Protection } from "./protection.ts";
import { makeId, openSessions } from "./session.ts";
import { openSnapshot } from "./snapshot.ts";
import { openSuccession } from "./succession.ts";
import type { Trust } from "./trust.ts";
import { openTurns } from "./turn.ts";
import { openWatch } from "./watch.ts";

export interface Limits {
  /** Connections that have not logged in. */
  readonly waiting: { readonly total: number; readonly each: number };
  /** Those that stay without logging in, as drivers' monitors do. */
  readonly lingering: { readonly total: number; readonly each: number };
  /** Bad tokens; beyond them an address is not looked up. The total is no limit, or strangers could lock everybody out. */
  readonly failures: { readonly total: Rate; readonly each: Rate };
  /** Refused logins that are told of in the log and the table. */
  readonly denials: { readonly total: Rate; readonly each: Rate };
  readonly cancels: { readonly total: Rate; readonly each: Rate };
  /** Logins that ask or write the table at the same time; others wait for their turn. */
  readonly asking: number;
  /** How long one read of the table may take. */
  readonly patienceMs: number;
  readonly loginMs: number;
  readonly frameMs: number;
  readonly upstreamMs: number;
  /** From a cut to the end of both sockets, whether or not the client takes the words. */
  readonly graceMs: number;
}
export const defaultLimits: Limits = {
  waiting: { total: 2_000, each: 200 },
  lingering: { total: 2_000, each: 200 },
  failures: { total: { burst: 100_000, perSecond: 10_000 }, each: { burst: 200, perSecond: 2 } },
  denials: { total: { burst: 500, perSecond: 20 }, each: { burst: 60, perSecond: 1 } },
  cancels: { total: { burst: 1_000, perSecond: 200 }, each: { burst: 200, perSecond: 10 } },
  asking: 32,
  patienceMs: 3_000,
  loginMs: 10_000,
  frameMs: 5_000,
  upstreamMs: 30_000,
  graceMs: 2_000,
};

export interface ProxyParts {
  readonly id: string;
  readonly network: string;
  readonly version: string;
  readonly store: Store;
  readonly sink: AuditSink;
  /** Signs how far sessions' records go. */
  readonly signer?: Signer;
  readonly trust: Trust;
  readonly clock: Clock;
  /** Never jumps. */
  readonly steady: Clock;
  readonly random: Random;
  readonly digest: Digest;
  readonly log: Log;
  readonly cancelSecret: Secret;
  readonly protocols: Readonly<Record<string, AnyProtocol>>;
  upstream(database: Database, grant: Grant): Upstream;
  /** Somebody's access has changed: what is kept in people's names is dropped. */
  readonly moved?: () => void;
  readonly host: string;
  /** By protocol; 0 is any free port. */
  readonly plainPorts: Readonly<Record<string, number>>;
  readonly gatePort: number;
  readonly healthPort: number;
  readonly peerPort: number;
  readonly peerAddress: string;
  readonly limits?: Partial<Limits>;
  /** Counts up with each deployment; a task makes way for those of a higher one. */
  readonly revision?: number;
  /** How long sessions may go on after that; an hour if it is not said. */
  readonly drainForMs?: number;
  /** Where this task asks not to be stopped while sessions live. */
  readonly protection?: Protection;
  /** Off in tests, which call tick() themselves. */
  readonly ticking?: boolean;
}

export interface RunningProxy {
  readonly id: string;
  /** By protocol, and `gate`, `health`, `peer`. */
  readonly ports: Readonly<Record<string, number>>;
  /** What happens each second. Never rejects. */
  tick(): Promise<void>;
  /** What is held now: connections that have not logged in, sessions, writes owed. */
  counts(): { waiting: number; sessions: number; owed: number };
  /** Takes no more connections, waits for sessions to end, ends the rest in their own words, writes everything. */
  drain(waitMs: number): Promise<void>;
}

const tickEvery = 1_000;
const pulseEvery = 60_000;
const owedWithin = 5_000;
const isInner = (name: string): boolean => name === "health" || name === "peer";

/** Everything that serves connections, wired but not yet reachable. */
const compose = (parts: ProxyParts, limits: Limits) => {
  const { id, network, store, sink, trust, clock, steady, random, digest, log, upstream, protocols } = parts;
  const patience = limits.patienceMs;
  const secret = parts.cancelSecret;
  const snapshot = openSnapshot(store, { patience });
  const sessions = openSessions({ sink, clock, steady, random, view: snapshot.view });
  const notary = parts.signer && openNotary({ signer: parts.signer, digest });
  const live = (): readonly string[] => sessions.all().map((session) => session.id);
  const heads = openHeads({ proxy: id, store, sink, steady, log, notary, live });
  const ledger = openLedger({ proxy: id, store, sink, heads, clock, random, log });
  const watch = openWatch({ snapshot, sessions, steady, log, ...(parts.moved && { moved: parts.moved }) });
  const failures = openAllowance(limits.failures, steady);
  const denials = openAllowance(limits.denials, steady);
  const judges = { snapshot, sessions, ledger, failures, denials };
  const turns = openTurns(limits.asking);
  const judge = openAdmissions({ ...judges, digest, clock, log, network });
  const admissions: Admissions = { admit: (one) => turns.take(one.signal, () => judge.admit(one)) };
  const begin: Ledger["begin"] = (session) => turns.take(session.live.ended, () => ledger.begin(session));
  const book: Ledger = { ...ledger, begin };
  const neighbours = openNeighbours({ self: id, network, store, steady });
  const peers = openPeers({ secret, neighbours, steady });
  const allowance = openAllowance(limits.cancels, steady);
  const cancels = openCancels({ secret, allowance, askPeers: peers.ask, log });
  const login = openLogin({ admissions, denials, ledger: book, cancels, trust, random, steady, log, upstream, limits });
  const gate = openGate({ trust, admissions, login, protocols, digest, random, log, limits });
  const { revision, drainForMs = 3_600_000 } = parts;
  const succession = openSuccession({ revision, drainForMs, neighbours, steady, log });
  const leaving = (): boolean => sessions.draining() || succession.state() !== "serving";
  return { snapshot, sessions, ledger, heads, watch, cancels, login, gate, succession, leaving };
};
type House = ReturnType<typeof compose>;

/** Connections being served, whatever their state. */
const openRoster = () => {
  const serving = new Map<Promise<void>, Visit>();
  return {
    track: (visit: Visit, work: Promise<void>): Promise<void> => {
      const one = work.finally(() => serving.delete(one));
      serving.set(one, visit);
      return one;
    },
    allServed: async (): Promise<void> => {
      while (serving.size > 0) await Promise.all(serving.keys());
    },
    destroy: (): void => {
      for (const { socket } of serving.values()) socket.destroy();
    },
  };
};
type Roster = ReturnType<typeof openRoster>;

interface Ports {
  readonly servers: Readonly<Record<string, Server>>;
  readonly numbers: Readonly<Record<string, number>>;
}

/** Listens on every port. @throws the system's error, with none of them left open */
const openPorts = async (parts: ProxyParts, house: House, roster: Roster, places: Waiting): Promise<Ports> => {
  const { sink, random, cancelSecret: secret } = parts;
  const { gate, login } = house;
  const state = () => (house.leaving() ? "draining" : sink.fill() >= fullFrom ? "audit_full" : "serving");
  const wanted: [name: string, port: number, server: Server][] = [
    ["gate", parts.gatePort, openPort("gate", places, parts, (visit) => roster.track(visit, gate(visit)))],
    ["peer", parts.peerPort, openPeerPort({ secret, random, carryOut: house.cancels.carryOut })],
    ["health", parts.healthPort, openHealth(state)],
  ];
  for (const [name, port] of Object.entries(parts.plainPorts)) {
    const protocol = parts.protocols[name];
    if (!protocol) throw new Failure("invalid", `there is no protocol ${name}`);
    const serve = (visit: Visit) => roster.track(visit, login.serve(protocol, visit, visit.socket));
    wanted.push([name, port, openPort("plain", places, parts, serve)]);
  }
  const numbers: Record<string, number> = {};
  try {
    for (const [name, port, server] of wanted) numbers[name] = await listen(server, port, parts.host);
  } catch (thrown) {
    for (const [, , server] of wanted) server.close();
    throw thrown;
  }
  return { servers: Object.fromEntries(wanted.map(([name, , server]) => [name, server])), numbers };
};

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
  });

const waitAtMost = async (ms: number, work: Promise<unknown>): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
};

/** @throws Failure `unavailable` when the table can't be read or written, the system's error when a port is taken */
export const openProxy = async (parts: ProxyParts): Promise<RunningProxy> => {
  const { id, network, store, sink, clock, steady, log, version } = parts;
  const limits: Limits = { ...defaultLimits, ...parts.limits };
  const house = compose(parts, limits);
  const { sessions, ledger, succession, leaving } = house;
  const roster = openRoster();
  const waiting = openPlaces(limits.waiting);
  const lingering = openPlaces(limits.lingering);
  // nothing is listened on before a decision can be made
  await house.snapshot.load();
  const { servers, numbers } = await openPorts(parts, house, roster, { waiting, lingering });
  const { revision } = parts;
  const address = { address: parts.peerAddress, peerPort: numbers["peer"] ?? 0 };
  const task = { id, ...address, network, version, ...(revision !== undefined && { revision }) };
  const { count } = sessions;
  const heartbeat = openHeartbeat({ task, store, clock, log, sessions: count, draining: leaving });
  try {
    await heartbeat.start();
  } catch (thrown) {
    for (const server of Object.values(servers)) server.close();
    throw thrown;
  }

  let beatAt = steady.now();
  let pulseAt = beatAt;
  /** How it is, each minute: what the metrics of a proxy at rest are made of. */
  const pulse = (): void => {
    if (steady.now() - pulseAt < pulseEvery) return;
    pulseAt = steady.now();
    const now = clock.now();
    const audit = { auditFill: sink.fill(), auditBehindFor: Math.max(0, now - (sink.waitingSince?.() ?? now)) };
    log.info("pulse", { waiting: waiting.count(), sessions: count(), owed: ledger.owed(), ...audit });
  };
  const wish = openWish(steady);
  const endAll = (): void => {
    for (const session of sessions.all())
      session.cut(new Failure("draining", "this proxy is going away", { hint: "connect again" }));
  };
  const tick = async (): Promise<void> => {
    const checked = house.watch.check();
    pulse();
    if (succession.state() === "over") {
      sessions.drain();
      endAll();
    }
    // ECS may be slow to answer, and holds up nothing
    void parts.protection?.want(wish({ sessions: count(), leaving: leaving() }));
    if (steady.now() - beatAt >= heartbeatEvery) {
      beatAt = steady.now();
      // what waits for a sink or a key holds up no heartbeat
      void house.heads.tick();
      await Promise.all([succession.look().then(heartbeat.beat), ledger.settle()]);
    }
    await checked;
  };
  const ticker = parts.ticking === false ? undefined : setInterval(() => void tick(), tickEvery);

  const drain = async (waitMs: number): Promise<void> => {
    sessions.drain();
    // peers may still ask for cancels, and the balancer whether we live
    const doors = Object.entries(servers).flatMap(([name, server]) => (isInner(name) ? [] : [close(server)]));
    const told = heartbeat.beat();
    await waitAtMost(waitMs, roster.allServed());
    endAll();
    await waitAtMost(limits.graceMs * 3, roster.allServed());
    roster.destroy();
    await waitAtMost(limits.graceMs, roster.allServed());
    clearInterval(ticker);
    // side by side: after `waitMs` all of it takes 25 s at most, and ECS gives a task 120 in all
    await Promise.all([
      waitAtMost(owedWithin, Promise.all([told, ledger.settle()])).then(heartbeat.stop),
      sink.close(),
    ]);
    for (const [name, server] of Object.entries(servers)) if (isInner(name)) server.close();
    await waitAtMost(limits.graceMs, Promise.all(doors));
  };

  return {
    id,
    ports: numbers,
    tick,
    counts: () => ({ waiting: waiting.count(), sessions: sessions.count(), owed: ledger.owed() }),
    drain,
  };
};

export const makeProxyId = (random: Random): string => makeId("prx", random);
