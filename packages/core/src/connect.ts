// Issuing connect tokens: find the database, rule on the ask, issue, say where to go. An outsider's refusal is the same, word
// for word and read for read, whether the database exists or not.
import { type Denial, explainDenial, type Grant, isDenial, type Subject } from "./access.ts";
import type { ConnectAnswer, Explanation, Input, ReachableDatabase } from "./api.ts";
import { completeAsk, findDatabase, knows, ruleOn, type Scene, unknownDatabase, type Wanted } from "./ask.ts";
import { eventChange } from "./audit.ts";
import { Database } from "./database.ts";
import { Failure } from "./failure.ts";
import { keys, readAll, toItem, walk } from "./family.ts";
import { allLocks, type Caller, type Desk, notEnded, record } from "./login.ts";
import type { Networks } from "./network.ts";
import type { Store } from "./ports.ts";
import { reachable } from "./reach.ts";
import { readRoles } from "./role.ts";
import { heartbeatEvery, isAlive, ProxyTask } from "./session.ts";
import { type ConnectToken, makeToken } from "./token.ts";
import { anchorsFor, isIssued } from "./trust.ts";

const boundFor = 3_600_000;
/** Tokens one login may issue: an hourly renewal of many tunnels stays far below, a flood does not. */
const mostTokens = 1_000;

/** Everything that ruling on asks of `subject` needs, read afresh. */
export const readScene = async (store: Store, subject: Subject, now: number): Promise<Scene> => {
  const [databases, roles, locks] = await Promise.all([
    readAll(store, Database, keys.database("").pk),
    readRoles(store),
    allLocks(store),
  ]);
  return { subject, roles, locks, databases, now };
};

export const sceneOf = ({ store, clock }: Pick<Desk, "store" | "clock">, caller: Caller): Promise<Scene> =>
  readScene(store, { user: caller.user, loginExpiresAt: caller.loginExpiresAt }, clock.now());

const reachOf = ({ subject, roles, locks, now }: Scene, database: Database) =>
  reachable(subject, roles, locks, database, now);

/** The databases somebody may reach, with the users and names they may be there. */
export const listReachable = (scene: Scene): ReachableDatabase[] =>
  scene.databases.flatMap((database) => {
    const users = reachOf(scene, database).map(({ user, names }) => ({ user, names: [...names] }));
    return users.length > 0 ? [{ ...database, users }] : [];
  });

interface Ruling {
  readonly database: Database;
  readonly ask: { readonly user: string; readonly name: string | undefined };
  readonly decision: Grant | Denial;
}

/** The decision on what is wanted, or undefined where the database is not to be talked about. @throws Failure `invalid` */
const rule = (scene: Scene, wanted: Wanted, visible: (database: Database) => boolean): Ruling | undefined => {
  const reached = (database: Database): boolean => reachOf(scene, database).length > 0;
  const database = findDatabase(scene.databases, wanted.database, visible, reached);
  if (!database) return undefined;
  const ask = completeAsk(scene, database, reachOf(scene, database), wanted);
  return { database, ask, decision: ruleOn(scene, database, ask) };
};

/** Why and why not. `everything` is an administrator's view; others hear only of databases that their roles are about. @throws Failure `not_found`, `invalid` */
export const explain = (scene: Scene, wanted: Wanted, everything: boolean): Explanation => {
  const ruling = rule(scene, wanted, (database) => everything || knows(scene, database));
  if (!ruling) throw unknownDatabase(wanted.database);
  const { database, ask, decision } = ruling;
  const denied = isDenial(decision);
  return {
    allowed: !denied,
    database: database.name,
    user: ask.user,
    ...(ask.name === undefined ? {} : { name: ask.name }),
    roles: denied ? [] : [...decision.roles],
    reasons: denied ? [...decision.reasons] : [],
    ...(denied && decision.nearest !== undefined ? { nearest: decision.nearest } : {}),
  };
};

/** What every refusal is recorded as, before it is said. */
const refuse = async (desk: Desk, caller: Caller, wanted: Wanted, why: string, failure: Failure): Promise<never> => {
  const { database, user, name } = wanted;
  await record(desk, "token.deny", caller.user.name, { database, user, name, why });
  throw failure;
};

const freshProxies = async (store: Store, network: string, now: number): Promise<number> => {
  let fresh = 0;
  for await (const item of walk(store, keys.proxy("").pk)) {
    // one that can't be read is no proxy to send anyone to, and no reason to send nobody anywhere
    const task = ProxyTask.safeParse(item).data;
    if (task && task.network === network && !task.draining && isAlive(task, now)) fresh += 1;
  }
  return fresh;
};

/** Where to go for this database. @throws Failure `unavailable` */
const wayTo = async ({ store, clock }: Desk, networks: Networks, { name, network, protocol }: Database) => {
  const found = Object.hasOwn(networks, network) ? networks[network] : undefined;
  if (!found)
    throw new Failure("unavailable", `no proxies serve the network ${network} of database ${name}`, {
      hint: "an administrator can add the network to the deployment's settings",
    });
  const { direct, gate } = found;
  const anchors = await anchorsFor(store, found, clock.now());
  const { ca } = isIssued(found) ? anchors : { ca: direct?.ca };
  const port = direct?.ports[protocol];
  const ready = (await freshProxies(store, network, clock.now())) > 0;
  return {
    state: ready ? ("ready" as const) : ("starting" as const),
    ...(ready ? {} : { retryAfter: heartbeatEvery / 1000 }),
    gate: { host: gate.host, port: gate.port, ...anchors, pins: [...anchors.pins] },
    ...(direct && port !== undefined
      ? { direct: { host: direct.host, port, ...(ca === undefined ? {} : { ca }) } }
      : {}),
    network,
  };
};

/** Why this grant gives no token of the kind that is wanted, or undefined. */
const objection = (grant: Grant, bound: boolean): Failure | undefined =>
  bound || grant.bearer
    ? undefined
    : new Failure("denied", "your roles do not allow tokens for plain clients (bearer: false)", {
        hint: "use the tunnel: sally db connect, or sally proxy db",
      });

/**
 * Issues a connect token. `key` is the public key it is bound to, already checked.
 * @throws Failure `not_found` to outsiders, `denied` with the reason to those whose roles are about the database, `invalid`, `unavailable`
 */
export const connect = async (
  desk: Desk,
  networks: Networks,
  caller: Caller,
  wanted: Input<"connect">,
): Promise<ConnectAnswer> => {
  const scene = await sceneOf(desk, caller);
  const ruling = rule(scene, wanted, (database) => knows(scene, database));
  if (!ruling) return refuse(desk, caller, wanted, "unknown, or no role is about it", unknownDatabase(wanted.database));
  const { database, ask, decision } = ruling;
  const asked = { ...ask, database: database.name };
  if (isDenial(decision)) {
    const why = explainDenial(decision);
    const hint = `sally db explain ${database.name} tells more`;
    return refuse(desk, caller, asked, why, new Failure("denied", why, { hint }));
  }
  if (database.status !== "available") {
    const why = `database ${database.name} is ${database.status}: ${database.reason ?? "no reason is known"}`;
    return refuse(desk, caller, asked, why, new Failure("unavailable", why));
  }
  const against = objection(decision, wanted.key !== undefined);
  if (against) return refuse(desk, caller, asked, against.message, against);
  const bearer = decision.bearer ?? { logins: 0, ttl: 0 };
  const way = wanted.key === undefined ? { bearer: bearer.logins } : { bound: wanted.key };
  return issue(desk, networks, caller, database, decision, way, wanted.key === undefined ? bearer.ttl : boundFor);
};

const issue = async (
  desk: Desk,
  networks: Networks,
  caller: Caller,
  database: Database,
  grant: Grant,
  way: ConnectToken["way"],
  lastsFor: number,
): Promise<ConnectAnswer> => {
  const { store, clock, random, digest } = desk;
  const now = clock.now();
  const place = await wayTo(desk, networks, database);
  const { token, id } = makeToken("connect", random, digest);
  const issued: ConnectToken = {
    id,
    user: caller.user.name,
    database: database.name,
    protocol: database.protocol,
    dbUser: grant.dbUser,
    ...(grant.dbName === undefined ? {} : { dbName: grant.dbName }),
    session: caller.login,
    loginExpiresAt: caller.loginExpiresAt,
    issuedAt: now,
    expiresAt: Math.min(now + lastsFor, caller.loginExpiresAt),
    way,
  };
  const facts = { token: id, database: database.name, user: grant.dbUser, name: grant.dbName, roles: grant.roles };
  const event = {
    name: "token.issue" as const,
    at: now,
    actor: caller.user.name,
    details: { ...facts, way: "bearer" in way ? "bearer" : "bound", expiresAt: issued.expiresAt },
  };
  await store
    .transact([
      { put: toItem(keys.connectToken(id), issued, issued.expiresAt), if: { absent: true } },
      // kept while sessions may live on it: what is listed here is what a logout revokes
      { put: toItem(keys.issued(caller.login, id), {}, caller.loginExpiresAt), if: { absent: true } },
      // a login that ended meanwhile issues nothing
      {
        update: keys.apiKey(caller.login),
        add: { tokens: 1 },
        if: { ...notEnded, below: { endedAt: 1, tokens: mostTokens } },
      },
      eventChange(event, random),
    ])
    .catch((thrown: unknown) => {
      if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
      throw new Failure("not_logged_in", "your login has ended, or has issued all the tokens it may", {
        hint: "sally login",
      });
    });
  return {
    ...place,
    token: token.reveal(),
    id,
    expiresAt: issued.expiresAt,
    ...("bearer" in way ? { logins: way.bearer } : {}),
    database: database.name,
    protocol: database.protocol,
    user: grant.dbUser,
    ...(grant.dbName === undefined ? {} : { name: grant.dbName }),
  };
};
