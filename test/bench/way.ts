// The ways to the server that are compared: straight, through haproxy, through pgbouncer and through us. Each is one process
// with one thread doing TLS on both legs, verified in full upstream.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { ProtocolName } from "@sallyport/core/database";
import { preload, writeHosts } from "@sallyport/local/hosts";
import { launcher } from "@sallyport/local/launcher";
import { proxyFlags, startTask } from "@sallyport/local/task";
import { account, awsName, type Bench } from "./server.ts";
import type { Table } from "./table.ts";

export interface Way {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
  /** pgbouncer does not know connections that begin with TLS. */
  readonly asksForTls?: true;
  /** What stands between; none on the straight way. */
  readonly pid?: number;
  close(): Promise<void>;
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

const answers = async (port: number): Promise<boolean> => {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
};

const startProgram = async (
  words: readonly string[],
  port: number,
  as: Bench["as"],
): Promise<{ pid: number; close(): Promise<void> }> => {
  const [command = "", ...rest] = [...launcher("KILL"), ...words];
  let said = "";
  const child: ChildProcess = spawn(command, rest, { ...as, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-4_000);
    });
  const exited = once(child, "exit");
  const until = Date.now() + 10_000;
  while (child.exitCode === null && !(await answers(port))) {
    if (Date.now() > until) child.kill("SIGKILL");
    await wait(20);
  }
  if (child.exitCode !== null || child.signalCode !== null)
    throw new Error(`${words[0]} did not start: ${said.trim()}`);
  return {
    pid: child.pid ?? 0,
    close: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
};

export const openDirect = (bench: Bench): Way => ({
  name: "direct",
  host: bench.host,
  port: bench.port,
  password: account.password,
  close: async () => {},
});

const program = async (...paths: readonly string[]): Promise<string | undefined> => {
  for (const path of paths)
    try {
      await access(path);
      return path;
    } catch {}
  return undefined;
};

export const openHaproxy = async (
  bench: Pick<Bench, "folder" | "files" | "caFile" | "cipher" | "host" | "port">,
  { alpn }: { readonly alpn?: string },
): Promise<Way | undefined> => {
  const path = await program("/usr/sbin/haproxy", "/usr/local/sbin/haproxy");
  if (path === undefined) return undefined;
  const port = await freePort();
  const file = join(bench.folder, "haproxy.cfg");
  const { files, caFile, cipher, host } = bench;
  const agreed = alpn === undefined ? "" : ` alpn ${alpn}`;
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen database
  bind 127.0.0.1:${port} ssl crt ${files.pair}${agreed} ciphersuites ${cipher}
  server one ${host}:${bench.port} ssl verify required ca-file ${caFile} sni str(localhost)${agreed}
`,
  );
  const started = await startProgram([path, "-db", "-f", file], port, {});
  return { name: "haproxy", host: "127.0.0.1", port, password: account.password, ...started };
};

export const openPgbouncer = async (bench: Bench): Promise<Way | undefined> => {
  const path = await program("/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer");
  if (path === undefined) return undefined;
  const port = await freePort();
  const { folder, files, caFile, as, host } = bench;
  const users = join(folder, "users.txt");
  const file = join(folder, "pgbouncer.ini");
  await writeFile(users, `"${account.user}" "${account.password}"\n`);
  await writeFile(
    file,
    `[databases]
${account.database} = host=${host} port=${bench.port} dbname=${account.database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = session
default_pool_size = 1100
max_client_conn = 2000
client_tls_sslmode = require
client_tls_cert_file = ${files.cert}
client_tls_key_file = ${files.key}
server_tls_sslmode = verify-full
server_tls_ca_file = ${caFile}
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`,
  );
  const started = await startProgram([path, "-q", file], port, as);
  return { name: "pgbouncer", host: "127.0.0.1", port, password: account.password, asksForTls: true, ...started };
};

/** A relay of fifty lines: what is left to gain below it is Node's. */
export const openRelay = async (bench: Bench): Promise<Way> => {
  const { files, caFile, host, port } = bench;
  const task = await startTask({
    entry: new URL("relay.ts", import.meta.url).pathname,
    flags: proxyFlags,
    launcher: launcher("KILL"),
    env: {
      ...{ RELAY_CERT: files.cert, RELAY_KEY: files.key, RELAY_CA: caFile },
      ...{ RELAY_HOST: host, RELAY_PORT: String(port) },
    },
  });
  return {
    name: "relay",
    host: "127.0.0.1",
    port: (task.ready["ports"] as { postgres: number }).postgres,
    password: account.password,
    pid: task.pid,
    close: () => task.kill(),
  };
};

export interface OursOptions {
  readonly name?: string;
  readonly audit?: boolean;
  /** No database behind it: its clients log in and leave (doorman.ts). */
  readonly loginOnly?: boolean;
  /** Where its CPU profile goes when it ends. */
  readonly profile?: string;
  readonly protocol?: ProtocolName;
}

export const openOurs = async (
  bench: Pick<Bench, "caFile" | "folder" | "host"> & { readonly files: Pick<Bench["files"], "cert" | "key"> },
  table: Table,
  options: OursOptions = {},
): Promise<Way> => {
  const { name = "ours", audit = true, loginOnly = false, profile, protocol = "postgres" } = options;
  const { files, caFile, folder } = bench;
  const hosts = join(folder, "hosts.json");
  writeHosts(hosts, { [awsName]: [bench.host] });
  const { flags, env } = preload(hosts);
  const profiling = ["--cpu-prof", "--cpu-prof-interval=200", `--cpu-prof-dir=${profile}`];
  const task = await startTask({
    entry: new URL("proxy.ts", import.meta.url).pathname,
    flags: [...flags, ...proxyFlags, ...(profile === undefined ? [] : profiling)],
    launcher: launcher("KILL"),
    env: {
      ...table.env,
      ...env,
      ...{ SALLYPORT_CERT_FILE: files.cert, SALLYPORT_KEY_FILE: files.key, SALLYPORT_RDS_CA_FILE: caFile },
      ...{
        SALLYPORT_LISTEN_HOST: "127.0.0.1",
        SALLYPORT_PLAIN_PORTS: JSON.stringify({ [protocol]: 0 }),
        SALLYPORT_GATE_PORT: "0",
      },
      ...{ SALLYPORT_HEALTH_PORT: "0", SALLYPORT_PEER_PORT: "0", SALLYPORT_PEER_ADDRESS: "127.0.0.1" },
      ...{ SALLYPORT_CANCEL_SECRET: "unused", SALLYPORT_AUDIT_DIR: join(folder, `audit-${name}`) },
      ...{ SALLYPORT_UPSTREAM_ALLOW: "127.0.0.0/8", BENCH_PASSWORD: account.password },
      ...(audit ? {} : { BENCH_AUDIT: "off" }),
      ...(loginOnly ? { BENCH_LOGIN: "only" } : {}),
    },
  });
  return {
    name,
    host: "127.0.0.1",
    port: (task.ready["ports"] as Record<ProtocolName, number>)[protocol],
    password: table.token,
    pid: task.pid,
    close: async () => {
      task.signal("SIGTERM");
      await task.exited;
    },
  };
};
