// Finding out why nobody gets through: what discovery knows of a database, how its listings went, whether a proxy serves its
// network, and whether the database is reached from there. Looks and says; changes nothing.
import { type Finding, RunLine } from "./api.ts";
import { findDatabase } from "./ask.ts";
import { Database } from "./database.ts";
import { readAsked } from "./discovery.ts";
import { Failure, toFailure } from "./failure.ts";
import { keys, readAll } from "./family.ts";
import type { ManagedUser } from "./managed.ts";
import { allManaged, managedDocumentName } from "./managed-document.ts";
import { defaultNetwork } from "./network.ts";
import type { Clock, Store } from "./ports.ts";
import type { Probed, ProbedNode, Probing } from "./probe.ts";
import { isAlive, ProxyTask } from "./session.ts";

export interface Practice {
  readonly store: Store;
  readonly clock: Clock;
  /** Looks from inside the network; absent where the deployment has no probe. */
  readonly probing?: ((event: Probing) => Promise<Probed>) | undefined;
}

/** A listing that runs every five minutes and was not seen for so long has stopped. */
const staleAfter = 20 * 60_000;
const mostDatabases = 200;
/** A password that should have been changed so long ago. */
const lateAfter = 30 * 60_000;

/** Of one database by its name, or of everything there is. @throws Failure `not_found` */
export const examine = async (practice: Practice, name?: string): Promise<Finding[]> => {
  const { store } = practice;
  const databases = await readAll(store, Database, keys.database("").pk);
  if (name === undefined) {
    const { wanted, broken } = await readAsked(store);
    return [
      ...broken.map(({ listing, error }): Finding => ({ level: "problem", about: listing, text: error })),
      ...(await listings(practice, new Set([...wanted.map(({ key }) => key), ...databases.map((one) => one.foundBy)]))),
      ...(await proxies(practice, new Set([defaultNetwork, ...databases.map(({ network }) => network)]))),
      ...databases
        .map(condition)
        .filter(({ level }) => level !== "ok")
        .slice(0, mostDatabases),
      ...(await managed(practice)).filter(({ level }) => level !== "ok").slice(0, mostDatabases),
    ];
  }
  const database = findDatabase(
    databases,
    name,
    () => true,
    () => true,
  );
  if (!database)
    throw new Failure("not_found", `there is no database ${name}`, { hint: "sally get db, or sally discover" });
  return [
    condition(database),
    ...(await listings(practice, new Set([database.foundBy]))),
    ...(await proxies(practice, new Set([database.network]))),
    ...(await reach(practice, database)),
    ...(await managed(practice, database)),
  ];
};

const condition = ({ name, status, reason }: Database): Finding => ({
  level: status === "available" ? (reason === undefined ? "ok" : "warning") : "problem",
  about: name,
  text: reason === undefined ? status : `${status}: ${reason}`,
});

const listings = async ({ store, clock }: Practice, named: ReadonlySet<string>): Promise<Finding[]> => {
  const findings: Finding[] = [];
  for (const about of named) {
    const run = RunLine.safeParse(await store.get(keys.run("discovery", about))).data;
    if (!run) findings.push({ level: "warning", about, text: "has not run yet", hint: "sally discover" });
    else if (run.error !== undefined) findings.push({ level: "problem", about, text: run.error });
    else if (clock.now() - run.at > staleAfter)
      findings.push({
        level: "problem",
        about,
        text: `ran last at ${new Date(run.at).toISOString()}`,
        hint: "look at the schedule and the log of the discover function",
      });
    else findings.push({ level: "ok", about, text: `found ${run.found}` });
    for (const text of run?.warnings ?? []) findings.push({ level: "warning", about, text });
  }
  return findings;
};

const proxies = async ({ store, clock }: Practice, networks: ReadonlySet<string>): Promise<Finding[]> => {
  const now = clock.now();
  const alive = (await readAll(store, ProxyTask, keys.proxy("").pk)).filter((task) => isAlive(task, now));
  return [...networks].map((network): Finding => {
    const about = `network ${network}`;
    const serving = alive.filter((task) => task.network === network && !task.draining).length;
    return serving > 0
      ? { level: "ok", about, text: `${serving} ${serving === 1 ? "proxy serves" : "proxies serve"} it` }
      : { level: "problem", about, text: "no proxy serves it", hint: "look at the proxy service and its log" };
  });
};

/** The users whose passwords are rotated, of one database or of all. */
const managed = async ({ store, clock }: Practice, database?: Database): Promise<Finding[]> => {
  const letIn = ({ caches }: ManagedUser): boolean =>
    database === undefined || caches.some(({ arn }) => arn === database.arn);
  return (await allManaged(store)).filter(letIn).map((user) => rotation(user, clock.now()));
};

const rotation = (user: ManagedUser, now: number): Finding => {
  const { state, failures, lastSuccessAt, lastError, nextDueAt } = user;
  const about = managedDocumentName(user);
  if (lastError && failures > 0) {
    const text = `its rotation fails (${failures} in a row), and stands at ${state}: ${lastError.message}`;
    return { level: "problem", about, text, hint: `when it is mended: sally rotate ${about}` };
  }
  if (now - nextDueAt > lateAfter) {
    const text = `its password was due at ${new Date(nextDueAt).toISOString()}, and its rotation stands at ${state}`;
    return { level: "problem", about, text, hint: "look at the schedule and the log of the rotate function" };
  }
  if (lastSuccessAt === undefined)
    return { level: "warning", about, text: "has no password yet: it is being brought in" };
  return { level: "ok", about, text: `rotated at ${new Date(lastSuccessAt).toISOString()}` };
};

const reach = async ({ probing }: Practice, database: Database): Promise<Finding[]> => {
  const { name, protocol, endpoint, partition, region, vpcId, status } = database;
  // what has no reason to be there is not looked for
  if (status === "unavailable") return [];
  if (!probing) {
    const text = "it was not looked for from inside the network: this deployment has no probe";
    return [{ level: "warning", about: name, text }];
  }
  const event = { protocol, endpoint, partition, region, database: name, ...(vpcId !== undefined && { vpcId }) };
  try {
    return (await probing(event)).nodes.map((node) => told(name, node));
  } catch (thrown) {
    const { message, hint } = toFailure(thrown);
    return [{ level: "warning", about: name, text: message, ...(hint !== undefined && { hint }) }];
  }
};

const told = (about: string, { address, port, result, reason, hint }: ProbedNode): Finding =>
  result === "ok"
    ? { level: "ok", about, text: `${address} port ${port} answers, and its certificate is right` }
    : {
        level: "problem",
        about,
        text: reason ?? `${address} port ${port} is ${result}`,
        ...(hint !== undefined && { hint }),
      };
