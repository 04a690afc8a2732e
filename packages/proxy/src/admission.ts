// From a token to a registered session: redeem, then decide again against the roles and locks of now. The same for both
// ways in. Whatever is wrong with a token is said in one sentence and costs one read of the table, so that guessing
// teaches nothing (S-48); a token is known by its hash alone.
import { timingSafeEqual } from "node:crypto";
import { decide, explainDenial, isDenial } from "@sallyport/core/access";
import { type Database, type ProtocolFacts, protocols } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Clock, Digest } from "@sallyport/core/ports";
import type { Secret } from "@sallyport/core/secret";
import { badToken, type ConnectToken, checkToken, identify } from "@sallyport/core/token";
import type { Allowance } from "./allowance.ts";
import type { Ledger } from "./ledger.ts";
import { describeError, type Log } from "./log.ts";
import type { LiveSession, Sessions, Visitor } from "./session.ts";
import type { Facts, Shown, Snapshot } from "./snapshot.ts";

/** How the token was shown: as a password, or with the key it is bound to (proven by the caller), SPKI DER. */
export type Means = { readonly way: "bearer" } | { readonly way: "bound"; readonly key: Buffer };

export interface Presented {
  readonly token: Secret;
  readonly means: Means;
  readonly visitor: Visitor;
  readonly address: string;
  /** Aborted: no session is registered any more. */
  readonly signal: AbortSignal;
  /** What the client itself asked for: refused unless the token says the same. */
  readonly asked?: { readonly protocol: string; readonly user?: string; readonly name?: string };
}

export interface Admissions {
  /** A session, decided on and under watch, that holds nothing yet. @throws Failure `bad_token`, `denied`, `too_many`, `unavailable`, `draining`, … */
  admit(presented: Presented): Promise<LiveSession>;
}

export interface AdmissionParts {
  readonly snapshot: Snapshot;
  readonly sessions: Sessions;
  readonly ledger: Ledger;
  readonly digest: Digest;
  readonly clock: Clock;
  /** Bad tokens per address; an address without any left is not looked up. */
  readonly failures: Allowance;
  /** Refused logins that are told of, per address: the rest leaves neither a log line nor an event. */
  readonly denials: Allowance;
  readonly log: Log;
  readonly network: string;
}

const isKey = (token: ConnectToken, means: Means): boolean => {
  if (means.way === "bearer") return true;
  const bound = Buffer.from("bound" in token.way ? token.way.bound : "", "base64");
  return bound.length === means.key.length && timingSafeEqual(bound, means.key);
};

/** @throws Failure `denied` */
export const requireSame = (
  token: ConnectToken,
  asked: { readonly protocol: string; readonly user?: string; readonly name?: string },
): void => {
  // where any name may be used, a client need not say which, and may say another than the token's; where each command names its
  // own, a login names none
  const facts: Readonly<Record<string, ProtocolFacts>> = protocols;
  const { checksName = true, namesLater = false } = facts[token.protocol] ?? {};
  const named = !checksName || (namesLater && asked.name === undefined) || asked.name === token.dbName;
  // who names no user means whoever the token is for
  const { user = token.dbUser } = asked;
  if (asked.protocol === token.protocol && user === token.dbUser && named) return;
  const what = [`user ${JSON.stringify(token.dbUser)}`];
  if (token.dbName !== undefined) what.push(`database ${JSON.stringify(token.dbName)}`);
  throw new Failure("denied", `this token opens ${token.protocol} as ${what.join(" and ")} only`, {
    hint: "connect as just that, or ask for another token: sally db login",
  });
};

/** @throws Failure when the database can't be reached from here, whatever the roles say */
const requireHere = (token: ConnectToken, database: Database | undefined, network: string): Database => {
  const name = token.database;
  if (!database || database.protocol !== token.protocol)
    throw new Failure("denied", `there is no database ${name} any more`, {
      hint: "sally db ls shows those you may reach",
    });
  if (database.network !== network)
    throw new Failure("denied", `database ${name} is reached through network ${database.network}, not this proxy`, {
      hint: "connect to the host and port that sally db login prints",
    });
  if (database.status === "available") return database;
  throw new Failure(
    database.status === "unsupported" ? "unsupported" : "upstream_unreachable",
    `database ${name} can't be connected to${database.reason === undefined ? "" : `: ${database.reason}`}`,
  );
};

export const openAdmissions = (parts: AdmissionParts): Admissions => {
  const { snapshot, sessions, ledger, digest, clock, log, network } = parts;

  const redeem = async ({ token: presented, means }: Presented): Promise<{ known: ConnectToken; shown: Shown }> => {
    const text = presented.reveal();
    const id = identify("connect", text, digest);
    // what can't be ours is looked up all the same, so that it takes as long
    const shown = await snapshot.show(id ?? digest.sha256(text));
    if (id === undefined) throw badToken("not a connect token");
    const known = checkToken(shown.token, means.way, clock.now());
    if (!isKey(known, means)) throw badToken("another key");
    return { known, shown };
  };

  /** No await between the decision and the registration: what changes from here on is the watch's to see. */
  const decideNow = (token: ConnectToken, facts: Facts, { means, visitor, signal }: Presented): LiveSession => {
    checkToken(facts.token, means.way, clock.now());
    const database = requireHere(token, facts.database, network);
    const { user, view } = facts;
    // a namesake who came later has nothing to do with it
    if (!user || token.issuedAt < user.createdAt)
      throw new Failure("denied", `there is no user ${token.user} any more`);
    const now = clock.now();
    const decision = decide(
      { user, loginExpiresAt: token.loginExpiresAt },
      view.roles,
      view.locks,
      database,
      { user: token.dbUser, name: token.dbName, since: now },
      now,
    );
    if (isDenial(decision))
      throw new Failure("denied", explainDenial(decision), { hint: `sally db explain ${database.name}` });
    if (means.way === "bearer" && !decision.bearer)
      throw new Failure("denied", "your roles do not allow bearer tokens", { hint: "use sally db connect" });
    signal.throwIfAborted();
    return sessions.open({ token, user, database, grant: decision, epoch: view.epoch }, visitor);
  };

  /** Tells the operator, and the table when it is known whose login it was. */
  const deny = (token: ConnectToken | undefined, { visitor, address }: Presented, thrown: unknown): void => {
    if (!parts.denials.take(address)) return;
    log.info("a login was refused", { ...visitor, user: token?.user, ...describeError(thrown) });
    if (!token || !(thrown instanceof Failure) || thrown.code === "timeout" || thrown.code === "unavailable") return;
    void ledger.note("session.deny", token.user, {
      database: token.database,
      dbUser: token.dbUser,
      ...(token.dbName === undefined ? {} : { dbName: token.dbName }),
      token: token.id,
      ...visitor,
      reason: `${thrown.code}: ${thrown.message}`,
    });
  };

  return {
    admit: async (presented) => {
      const { address, asked } = presented;
      if (sessions.draining()) throw new Failure("draining", "this proxy is going away", { hint: "connect again" });
      if (!parts.failures.has(address))
        throw new Failure("too_many", "too many failed logins from your address", { hint: "try again in a minute" });
      let known: ConnectToken | undefined;
      try {
        const redeemed = await redeem(presented);
        known = redeemed.known;
        if (asked) requireSame(known, asked);
        const concern = { user: known.user, database: known.database, token: known.id };
        const facts = await snapshot.read(concern, redeemed.shown);
        return decideNow(known, facts, presented);
      } catch (thrown) {
        if (thrown instanceof Failure && thrown.code === "bad_token") parts.failures.take(address);
        deny(known, presented, thrown);
        throw thrown;
      }
    },
  };
};
