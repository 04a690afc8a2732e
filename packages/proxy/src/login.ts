// The one login, for every protocol and both ways in: arrive → redeem the token → decide again → limits → credential → log
// in at the database → welcome → relay → end. Protocols differ only in their words; every step that matters for security
// is here and in admission.ts. Each failure is answered by the protocol's refuse, and everything taken is given back.
import type { Duplex } from "node:stream";
import type { Grant } from "@sallyport/core/access";
import type { Database } from "@sallyport/core/database";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Clock, Random } from "@sallyport/core/ports";
import type {
  Asked,
  CancelKey,
  Client,
  Dialled,
  End,
  Gate,
  KeyRules,
  Protocol,
  Server,
  Upstream,
} from "@sallyport/wire/protocol";
import type { Admissions, Means } from "./admission.ts";
import { requireSame } from "./admission.ts";
import type { Allowance } from "./allowance.ts";
import type { Cancels } from "./cancel.ts";
import { openDeadline, until, within } from "./deadline.ts";
import type { Ledger } from "./ledger.ts";
import { describeError, type Log } from "./log.ts";
import { type LiveSession, makeId } from "./session.ts";
import type { Trust } from "./trust.ts";

/** A connection as it was accepted, before anybody said anything. */
export interface Visit {
  /** The TCP socket itself, beneath any TLS. */
  readonly socket: Duplex;
  readonly way: "plain" | "gate";
  /** Without the port: what limits are counted by. */
  readonly address: string;
  /** With the port: what the audit says. */
  readonly client: string;
  /** By the clock that never jumps. */
  readonly arrivedAt: number;
  /** It no longer counts as one that has not logged in. */
  authenticated(): void;
  /** It may stay without logging in: from now on it counts among those that do. False when there are too many of them. */
  linger(): boolean;
}

/** What the gate has settled before the protocol begins. */
export interface Entered {
  readonly session: LiveSession;
  /** What the tunnel's own client dialled. */
  readonly dialled?: Dialled;
}
/** Where clients are told to dial the plain ports, by protocol. */
export interface Advertised {
  readonly host: string;
  readonly ports: Readonly<Record<string, number | undefined>>;
}

export interface Login {
  /** The whole life of one connection. Never rejects; the socket is closed when it resolves. */
  serve(protocol: AnyProtocol, visit: Visit, socket: Duplex, entered?: Entered): Promise<void>;
}
export type AnyProtocol = Protocol<Client, Server, unknown, string>;

export interface LoginParts {
  readonly admissions: Admissions;
  readonly ledger: Ledger;
  readonly cancels: Cancels;
  readonly trust: Trust;
  readonly random: Random;
  /** Never jumps. */
  readonly steady: Clock;
  readonly log: Log;
  /** What is told of visitors who did not come in, per address. */
  readonly denials: Allowance;
  /** The database's side of the door, for this decision. */
  upstream(database: Database, grant: Grant): Upstream;
  /** Until a client is logged in here, and from there until it is at the database. */
  readonly direct?: Advertised;
  readonly limits?: { readonly loginMs?: number; readonly upstreamMs?: number; readonly graceMs?: number };
}

/** As long as the one who asked for a cancel is kept waiting. */
const cancelMs = 10_000;

/** A signal for the end of a connection. */
export const watchClose = (socket: Duplex): AbortSignal => {
  const controller = new AbortController();
  const gone = (): void => controller.abort(new Failure("ended", "the client went away"));
  if (socket.destroyed) gone();
  socket.once("close", gone);
  return controller.signal;
};

/** Lets what was written last reach the other side, then closes for good. */
export const farewell = (socket: Duplex, graceMs: number): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    const timer = setTimeout(() => socket.destroy(), graceMs);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.end();
  });

/** An upstream whose connections all end when it is let go, whoever holds them: a login or a cancel that was given up leaves none behind. */
const leash = (upstream: Upstream): { upstream: Upstream; release(): void } => {
  const sockets = new Set<Duplex>();
  let over = false;
  return {
    upstream: {
      ...upstream,
      tcp: async (at) => {
        const made = await upstream.tcp(at);
        if (over) made.socket.destroy();
        sockets.add(made.socket);
        made.socket.once("close", () => sockets.delete(made.socket));
        return made;
      },
    },
    release: () => {
      over = true;
      for (const socket of sockets) socket.destroy();
    },
  };
};

/** What may be told: anything unknown goes to the log under a name that the client is told. */
const sayable = (thrown: unknown, { random, log }: LoginParts): Failure => {
  const failure = toFailure(thrown);
  if (failure.code !== "internal") return failure;
  const id = makeId("err", random);
  log.error("a login failed on our side", { id, ...describeError(thrown) });
  return new Failure("internal", failure.message, { hint: `its name in the proxy's log is ${id}` });
};

const askedOf = (ask: Asked, protocol: string): { protocol: string; user?: string; name?: string } => ({
  protocol,
  ...(ask.user === undefined ? {} : { user: ask.user }),
  ...(ask.name === undefined ? {} : { name: ask.name }),
});

export const openLogin = (parts: LoginParts): Login => {
  const { admissions, ledger, cancels, trust, random, steady, log } = parts;
  const { loginMs = 10_000, upstreamMs = 30_000, graceMs = 2_000 } = parts.limits ?? {};

  /** A key that is no secret means something to one user's sessions on one database only. */
  const ownKey = (protocol: AnyProtocol, { token }: LiveSession, key: string): CancelKey => ({
    protocol: protocol.name,
    key: JSON.stringify([token.user, token.database, key]),
  });

  /** Registers the client's cancel keys for as long as the session lives. */
  const openKeys = (protocol: AnyProtocol, session: LiveSession, cancel: () => Promise<void>) => {
    const undo: (() => void)[] = [];
    const end = async (): Promise<void> => session.cut(new Failure("ended", "the session was ended by its own user"));
    const run = async (): Promise<void> => {
      session.note({ event: "session.cancel" });
      void ledger.note("session.cancel", session.token.user, { session: session.id, database: session.database.name });
      await cancel();
    };
    return {
      own: {
        random: (bytes: number) => Buffer.from(random.bytes(bytes)),
        register: (key: string, { from, ends = false }: KeyRules = {}) => {
          const name = from === "self" ? ownKey(protocol, session, key) : { protocol: protocol.name, key };
          undo.push(cancels.register(name, ends ? end : run));
        },
      },
      forget: () => {
        for (const step of undo) step();
      },
    };
  };

  /** From a session that has begun to its end. @throws Failure until the client was welcomed */
  const relay = async (
    protocol: AnyProtocol,
    client: Client,
    session: LiveSession,
    upstream: Upstream,
    wanted: unknown,
    gone: AbortSignal,
    visit: Visit,
  ): Promise<End> => {
    const { ended } = session.live;
    const late = openDeadline(upstreamMs, "the login at the database");
    const held = leash(upstream);
    let keys: ReturnType<typeof openKeys> | undefined;
    try {
      // cut or left while the table was written: nothing is dialled
      for (const signal of [ended, gone]) signal.throwIfAborted();
      const made = await until(protocol.login(held.upstream, session.grant(), wanted), ended, late.signal, gone);
      const cancel = async (): Promise<void> => {
        const own = leash(upstream);
        try {
          await within(cancelMs, "the cancel", protocol.cancel(made, own.upstream));
        } finally {
          own.release();
        }
      };
      keys = openKeys(protocol, session, cancel);
      await until(protocol.welcome(client, made, keys.own), ended, late.signal, gone);
      late.stop();
      // what the metrics of logins are made of
      const { id, database } = session;
      const tookFor = Math.round(steady.now() - visit.arrivedAt);
      log.info("a session began", { session: id, database: database.name, way: visit.way, tookFor });
      const force = (): void => {
        // what it runs must not go on for somebody who may not any more
        cancel().catch((thrown: unknown) =>
          log.warn("what a cut session ran can't be cancelled", describeError(thrown)),
        );
        // a relay that can't get a word through must not keep a session alive that was cut
        setTimeout(() => {
          made.socket.destroy();
          client.socket.destroy();
        }, graceMs).unref();
      };
      ended.addEventListener("abort", force, { once: true });
      if (ended.aborted) force();
      const ask = (key: string): Promise<void> => cancels.request(ownKey(protocol, session, key), visit.address);
      return await protocol.relay(client, made, { ...session.live, cancel: ask });
    } finally {
      late.stop();
      keys?.forget();
      held.release();
    }
  };

  /** A session from its beginning in the table to its end there. @throws Failure when the client must still be told */
  const live = async (
    protocol: AnyProtocol,
    client: Client,
    session: LiveSession,
    upstream: Upstream,
    wanted: unknown,
    gone: AbortSignal,
    visit: Visit,
  ): Promise<void> => {
    await ledger.begin(session);
    let end: End = { by: "client" };
    let thrown: unknown;
    try {
      end = await relay(protocol, client, session, upstream, wanted, gone, visit);
    } catch (failed) {
      thrown = failed;
      const failure = toFailure(failed);
      end = gone.aborted && failure === gone.reason ? { by: "client" } : { by: "cut", failure };
      if (end.failure)
        log.warn("a session did not reach its database", {
          session: session.id,
          database: session.database.name,
          ...describeError(failed),
        });
    } finally {
      session.leave();
      // what cut it is the truth, whatever the relay made of it
      const cut: unknown = session.live.ended.aborted ? session.live.ended.reason : undefined;
      const failure = cut instanceof Failure ? cut : end.failure;
      await ledger.finish(session, failure === cut && cut !== undefined ? "cut" : end.by, failure);
    }
    if (thrown !== undefined) throw thrown;
  };

  const gateFor = (
    protocol: AnyProtocol,
    deadline: Gate["deadline"],
    entered: (Entered & { upstream: Upstream }) | undefined,
  ): Gate => {
    const { host, ports } = parts.direct ?? {};
    const port = ports?.[protocol.name];
    const told = host === undefined || port === undefined ? undefined : { host, port };
    const dialled = entered ? entered.dialled : told;
    const gate: Gate = { secure: trust.secure, deadline, ...(dialled && { dialled }) };
    if (!entered) return gate;
    const { token, grant, live } = entered.session;
    const ask = { user: token.dbUser, ...(token.dbName === undefined ? {} : { name: token.dbName }) };
    return { ...gate, arrived: { ask, grant: grant(), upstream: entered.upstream, touch: live.touch } };
  };

  const serve: Login["serve"] = async (protocol, visit, socket, entered) => {
    const deadline = openDeadline(loginMs, "the login");
    const gone = watchClose(visit.socket);
    const stop = AbortSignal.any([deadline.signal, gone, ...(entered ? [entered.session.live.ended] : [])]);
    let session = entered?.session;
    let client: Client | undefined;
    const upstreamOf = (one: LiveSession): Upstream => parts.upstream(one.database, one.grant());
    // what accept dials, for a protocol whose server speaks first, lives as long as this connection at most
    const early = entered && leash(upstreamOf(entered.session));
    try {
      const opened = entered && early && { ...entered, upstream: early.upstream };
      const patient = {
        start: deadline.start,
        stop: () => {
          // with its token redeemed it waits for nobody's word
          if (session) visit.authenticated();
          // no room to stay: it has what is left of its time to log in, or strangers who stay could lock everybody out
          else if (!visit.linger()) return;
          deadline.stop();
        },
      };
      const arrival = await until(protocol.accept(socket, gateFor(protocol, patient, opened)), stop);
      if ("probe" in arrival) {
        if (arrival.note !== undefined && parts.denials.take(visit.address))
          log.info("login.left", { client: visit.client, note: arrival.note });
        return;
      }
      client = arrival.client;
      if ("cancel" in arrival) {
        deadline.stop();
        await cancels.request(arrival.cancel, visit.address);
        // that the connection ends is the answer: whoever waits for it knows that the attempt is over
        client.socket.end();
        return;
      }
      const asked = askedOf(arrival.ask, protocol.name);
      // a protocol that stopped the deadline for its monitors has one again from here
      deadline.start();
      if (session) requireSame(session.token, asked);
      else {
        const { token } = arrival.ask;
        if (!token) throw new Failure("bad_token", "a token is needed as the password", { hint: "sally db login" });
        const means: Means = { way: "bearer" };
        const { address, client: from, way } = visit;
        const presented = { token, means, address, visitor: { way, client: from }, signal: stop, asked };
        session = await until(admissions.admit(presented), stop);
      }
      deadline.stop();
      visit.authenticated();
      await live(protocol, client, session, upstreamOf(session), arrival.wanted, gone, visit);
    } catch (thrown) {
      // without a client, what could be said was said by accept
      if (client && !gone.aborted) {
        await within(graceMs, "the refusal", protocol.refuse(client, sayable(thrown, parts))).catch(() => {});
      } else if (toFailure(thrown).code === "internal")
        log.error("a connection failed on our side", describeError(thrown));
    } finally {
      deadline.stop();
      early?.release();
      session?.leave();
      await farewell(visit.socket, graceMs);
    }
  };

  return { serve };
};
