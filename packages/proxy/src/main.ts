// The proxy's process: settings from the environment, adapters for the ports, one line "ready" when it serves, and a drain on
// SIGTERM or SIGINT. A second signal ends it at once.
import { createHash, randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { Logger } from "@aws-lambda-powertools/logger";
import { openUpstream } from "@sallyport/aws/dial";
import { openKinds } from "@sallyport/aws/kinds";
import { loadRoots } from "@sallyport/aws/roots";
import { openSigner } from "@sallyport/aws/signer";
import { openTable } from "@sallyport/aws/table";
import { openVault, readSecret, vaultClient } from "@sallyport/aws/vault";
import { openManagedPasswords } from "@sallyport/core/managed-password";
import type { Clock, Random } from "@sallyport/core/ports";
import { protocols } from "@sallyport/wire/protocols";
import { openCertificate, sourceOf } from "./certificate.ts";
import { describeError, type Log } from "./log.ts";
import { openProtection } from "./protection.ts";
import { makeProxyId, openProxy, type ProxyParts, type RunningProxy } from "./proxy.ts";
import { readSettings, type Settings } from "./settings.ts";
import { openSink } from "./sink.ts";
import { readTaskAddress, readTaskRevision } from "./task.ts";

const version = "0.1.0";
const clock: Clock = { now: Date.now };
const steady: Clock = { now: () => performance.now() };
const random: Random = { bytes: (count) => randomBytes(count) };
const digest = { sha256: (text: string) => createHash("sha256").update(text, "utf8").digest("hex") };

const openLog = (proxy: string): Log => {
  const logger = new Logger({ serviceName: "sallyport-proxy", persistentKeys: { proxy } });
  return {
    info: (message, facts = {}) => logger.info(message, facts),
    warn: (message, facts = {}) => logger.warn(message, facts),
    error: (message, facts = {}) => logger.error(message, facts),
  };
};

const start = async (id: string, settings: Settings, log: Log): Promise<RunningProxy> => {
  const [certificate, roots, cancelSecret] = await Promise.all([
    openCertificate({ source: sourceOf(settings.certificate, vaultClient), clock, log }),
    loadRoots(settings.caFile === undefined ? {} : { file: settings.caFile }),
    readSecret(vaultClient(), settings.cancelSecret),
  ]);
  const store = openTable({ name: settings.table });
  const kinds = openKinds({ clock, managed: openManagedPasswords({ store, vault: openVault() }) });
  const sink = await openSink({ proxy: id, settings, clock, log });
  const signer = settings.auditKey === undefined ? undefined : openSigner({ key: settings.auditKey });
  const upstream: ProxyParts["upstream"] = (database, grant) =>
    openUpstream({
      database,
      roots,
      allow: settings.allow,
      credential: () => kinds[database.kind].credential(database, grant.dbUser, { user: grant.user }, grant.dbName),
    });
  const moved = (): void => {
    for (const kind of Object.values(kinds)) kind.forget?.();
  };
  const { network, direct, host, plainPorts, gatePort, healthPort, peerPort } = settings;
  const peerAddress = settings.peerAddress || (await readTaskAddress(settings.metadata));
  const { metadata, agent, drainForMs } = settings;
  const revision = settings.revision ?? (metadata === "" ? undefined : await readTaskRevision(metadata));
  const protection = agent === undefined ? undefined : openProtection({ endpoint: agent, steady, log });
  const deployed = { ...(revision !== undefined && { revision }), ...(protection && { protection }), drainForMs };
  const ports = { host, plainPorts, gatePort, healthPort, peerPort, peerAddress };
  const { trust } = certificate;
  setInterval(() => void certificate.refresh(), settings.certEveryMs).unref();
  const world = { store, sink, trust, clock, steady, random, digest, log, cancelSecret, upstream, moved };
  const settled = { ...(direct && { direct }), ...(signer && { signer }) };
  return openProxy({ id, network, version, protocols, ...ports, ...world, ...deployed, ...settled });
};

const stopOnSignal = (proxy: RunningProxy, settings: Settings, log: Log): void => {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info("draining", { signal, ...proxy.counts() });
    proxy.drain(settings.drainMs).then(
      () => {
        log.info("drained", proxy.counts());
        process.exit(0);
      },
      (thrown: unknown) => {
        log.error("the drain failed", describeError(thrown));
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
};

const id = makeProxyId(random);
const log = openLog(id);
// one connection's mistake must not end everybody's sessions; it is logged, and the session it belongs to ends by its own limits
process.on("unhandledRejection", (thrown) => log.error("a promise was left alone", describeError(thrown)));
try {
  const settings = readSettings(process.env);
  const proxy = await start(id, settings, log);
  stopOnSignal(proxy, settings, log);
  log.info("ready", { ports: proxy.ports });
} catch (thrown) {
  log.error("the proxy can't start", describeError(thrown));
  process.exit(1);
}
