// The proxy put together: ports, one login, sessions under watch, and a way to go that tells everybody. Everything it
// touches is an argument, so that tests run this very composition with a clock and a table of their own.
import type { Grant } from "@sallyport/core/access";
import type { Database } from "@sallyport/core/database";
import type { AuditSink, Clock, Digest, Random, Signer, Store } from "@sallyport/core/ports";
import type { Upstream } from "@sallyport/wire/protocol";
import { type Admissions, openAdmissions } from "./admission.ts";
import { openAllowance, openPlaces } from "./allowance.ts";
import { fullFrom } from "./audit.ts";
import { openCancels } from "./cancel.ts";
import { waitAtMost } from "./deadline.ts";
import { type DoorParts, openDoors } from "./door.ts";
import { openGate } from "./gate.ts";
import { openHeads } from "./heads.ts";
import { type Heartbeat, openHeartbeat } from "./heartbeat.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { type Advertised, openLogin } from "./login.ts";
import { openNeighbours } from "./neighbours.ts";
import { openNotary } from "./notary.ts";
import { openPeers } from "./peer.ts";
import type { Protection } from "./protection.ts";
import { endAll, openRhythm } from "./rhythm.ts";
import { openRoster } from "./roster.ts";
import { makeId, openSessions } from "./session.ts";
import { openSnapshot } from "./snapshot.ts";
import { openSuccession } from "./succession.ts";
import type { Trust } from "./trust.ts";
import { openTurns } from "./turn.ts";
import { openWatch } from "./watch.ts";

export interface ProxyParts extends DoorParts {
  readonly id: string;
  readonly network: string;
  readonly version: string;
  readonly store: Store;
  readonly sink: AuditSink;
  /** Signs how far sessions' records go. */
  readonly signer?: Signer;
  readonly trust: Trust;
  readonly clock: Clock;
  readonly digest: Digest;
  upstream(database: Database, grant: Grant): Upstream;
  /** Somebody's access has changed: what is kept in people's names is dropped. */
  readonly moved?: () => void;
  readonly peerAddress: string;
  /** Where clients are told to dial the plain ports. */
  readonly direct?: Advertised;
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
const owedWithin = 5_000;

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
  const told = parts.direct && { direct: parts.direct };
  const doing = { admissions, denials, ledger: book, cancels, upstream, limits };
  const login = openLogin({ ...doing, trust, random, steady, log, ...told });
  const gate = openGate({ trust, admissions, login, protocols, digest, random, log, limits });
  const { revision, drainForMs = 3_600_000 } = parts;
  const succession = openSuccession({ revision, drainForMs, neighbours, steady, log });
  const leaving = (): boolean => sessions.draining() || succession.state() !== "serving";
  return { snapshot, sessions, ledger, heads, watch, cancels, login, gate, succession, leaving };
};
type House = ReturnType<typeof compose>;

/** This proxy's item in the table, written for the first time. @throws Failure `unavailable` */
const beginHeartbeat = async (
  parts: ProxyParts,
  { sessions, leaving }: House,
  peerPort: number,
): Promise<Heartbeat> => {
  const { id, network, version, revision, peerAddress: address, store, clock, log } = parts;
  const task = { id, address, peerPort, network, version, ...(revision !== undefined && { revision }) };
  const heartbeat = openHeartbeat({ task, store, clock, log, sessions: sessions.count, draining: leaving });
  await heartbeat.start();
  return heartbeat;
};

/** @throws Failure `unavailable` when the table can't be read or written, the system's error when a port is taken */
export const openProxy = async (parts: ProxyParts): Promise<RunningProxy> => {
  const { sink } = parts;
  const limits: Limits = { ...defaultLimits, ...parts.limits };
  const house = compose(parts, limits);
  const { sessions, ledger, leaving } = house;
  const roster = openRoster();
  const waiting = openPlaces(limits.waiting);
  const lingering = openPlaces(limits.lingering);
  // nothing is listened on before a decision can be made
  await house.snapshot.load();
  const state = () => (leaving() ? "draining" : sink.fill() >= fullFrom ? "audit_full" : "serving");
  const doors = await openDoors(parts, { ...house, state }, roster, { waiting, lingering });
  const heartbeat = await beginHeartbeat(parts, house, doors.numbers["peer"] ?? 0).catch((thrown: unknown) => {
    doors.close();
    throw thrown;
  });
  const tick = openRhythm({ ...parts, ...house, heartbeat, waiting: waiting.count });
  const ticker = parts.ticking === false ? undefined : setInterval(() => void tick(), tickEvery);

  const drain = async (waitMs: number): Promise<void> => {
    sessions.drain();
    // peers may still ask for cancels, and the balancer whether we live
    const shut = doors.shut();
    const told = heartbeat.beat();
    await waitAtMost(waitMs, roster.allServed());
    endAll(sessions);
    await waitAtMost(limits.graceMs * 3, roster.allServed());
    roster.destroy();
    await waitAtMost(limits.graceMs, roster.allServed());
    clearInterval(ticker);
    // side by side: after `waitMs` all of it takes 25 s at most, and ECS gives a task 120 in all
    await Promise.all([
      waitAtMost(owedWithin, Promise.all([told, ledger.settle()])).then(heartbeat.stop),
      sink.close(),
    ]);
    doors.close();
    await waitAtMost(limits.graceMs, shut);
  };

  return {
    id: parts.id,
    ports: doors.numbers,
    tick,
    counts: () => ({ waiting: waiting.count(), sessions: sessions.count(), owed: ledger.owed() }),
    drain,
  };
};

export const makeProxyId = (random: Random): string => makeId("prx", random);
