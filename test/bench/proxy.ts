// The proxy's process for the benchmark: main.ts's composition with one difference. The kind signs its IAM token as ever, and
// then a fixed password goes to the server in its place, because a real PostgreSQL can't check such a token and a front that
// could would be what is measured. Settings, ports, TLS on both legs, table, audit folder and relay are the real ones.
import { createHash, randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { openUpstream } from "@sallyport/aws/dial";
import { openKinds } from "@sallyport/aws/kinds";
import { loadRoots } from "@sallyport/aws/roots";
import { openTable } from "@sallyport/aws/table";
import { vaultClient } from "@sallyport/aws/vault";
import type { Credential } from "@sallyport/core/credential";
import type { ProtocolName } from "@sallyport/core/database";
import type { AuditSink } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";
import { openCertificate, sourceOf } from "@sallyport/proxy/certificate";
import { makeProxyId, openProxy, type ProxyParts } from "@sallyport/proxy/proxy";
import { readSettings } from "@sallyport/proxy/settings";
import { openSink } from "@sallyport/proxy/sink";
import { protocols } from "@sallyport/wire/protocols";
import { doorman } from "./doorman.ts";

const settings = readSettings(process.env);
const clock = { now: Date.now };
const random = { bytes: (count: number) => randomBytes(count) };
const kinds = openKinds({ clock });
const password = secret(process.env["BENCH_PASSWORD"] ?? "");
const id = makeProxyId(random);

const say = (level: string) => (message: string, facts?: object) =>
  void process.stdout.write(`${JSON.stringify({ level, message, ...facts })}\n`);
const log = { info: say("info"), warn: say("warn"), error: say("error") };

/** What audit costs is seen beside a proxy that throws every record away. */
const discard: AuditSink = {
  append: () => "accepted",
  settled: async () => {},
  fill: () => 0,
  head: () => undefined,
  seal: () => undefined,
  close: async () => {},
};
const sink = process.env["BENCH_AUDIT"] === "off" ? discard : await openSink({ proxy: id, settings, clock, log });

/** What goes to the server in place of what the kind has signed. */
const standIns: Readonly<Record<ProtocolName, (user: string) => Credential>> = {
  postgres: (user) => ({ as: "password", user, password, methods: "clear" }),
  // a real MariaDB takes a password by its scramble alone
  mysql: (user) => ({ as: "password", user, password, methods: "challenge" }),
  // whose proof is taken at its word
  redis: (user) => ({ as: "password", user, password, methods: "clear" }),
  mongodb: (user) => ({ as: "aws", user, sign: async () => ({ authorization: "a signature", date: "today" }) }),
};

const roots = await loadRoots(settings.caFile === undefined ? {} : { file: settings.caFile });
const upstream: ProxyParts["upstream"] = (database, grant) =>
  openUpstream({
    database,
    roots,
    allow: settings.allow,
    credential: async () => {
      await kinds[database.kind].credential(database, grant.dbUser, { user: grant.user });
      return standIns[database.protocol](grant.dbUser);
    },
  });

const spoken: ProxyParts["protocols"] = process.env["BENCH_LOGIN"] === "only" ? { postgres: doorman } : protocols;
const { network, host, plainPorts, gatePort, healthPort, peerPort, peerAddress } = settings;
const proxy = await openProxy({
  ...{
    id,
    network,
    version: "bench",
    protocols: spoken,
    host,
    plainPorts,
    gatePort,
    healthPort,
    peerPort,
    peerAddress,
  },
  ...{ store: openTable({ name: settings.table }), sink, clock, random, log, upstream },
  steady: { now: () => performance.now() },
  trust: (await openCertificate({ source: sourceOf(settings.certificate, vaultClient), clock, log })).trust,
  digest: { sha256: (text) => createHash("sha256").update(text, "utf8").digest("hex") },
  cancelSecret: secret(randomBytes(32).toString("hex")),
});

// an exit by itself, so that a profile is written
process.once("SIGTERM", () => {
  proxy.drain(0).then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
log.info("ready", { ports: proxy.ports });
