// The one server behind everything that is measured with MySQL's protocol: MariaDB with TLS, sysbench's table, rows to dump.
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { secret } from "@sallyport/core/secret";
import { createAuthority } from "@sallyport/local/certificate";
import { startMariaDb } from "@sallyport/local/mariadb/server";
import { account, awsName } from "../server.ts";

const run = promisify(execFile);
/** What mariadb-dump carries. */
export const dumped = { rows: 500_000, bytes: 500_000 * 1_000 } as const;
export const table = { rows: 100_000 } as const;

export interface MysqlBench {
  /** sysbench takes its certificates from where it runs. */
  readonly folder: string;
  readonly host: string;
  readonly port: number;
  readonly caFile: string;
  readonly ca: string;
  readonly files: { readonly cert: string; readonly key: string };
  readonly version: string;
  close(): Promise<void>;
}

export const openMysqlBench = async (): Promise<MysqlBench> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    const at = (name: string): string => join(folder, name);
    const authority = await createAuthority({ now: Date.now(), name: "Benchmark root" });
    const leaf = await authority.issue(["localhost", "127.0.0.1", awsName]);
    // sysbench shows a certificate of its own whether it is asked for or not, and a server that knows none refuses it
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at("client-key.pem")];
    await run("openssl", [
      "req",
      "-x509",
      ...key,
      "-subj",
      "/CN=sysbench",
      "-days",
      "2",
      "-out",
      at("client-cert.pem"),
    ]);
    const { stdout: shown } = await run("cat", [at("client-cert.pem")]);
    await writeFile(at("cacert.pem"), authority.ca);
    await writeFile(at("clients.pem"), `${authority.ca}\n${shown}`, { mode: 0o644 });
    await writeFile(at("leaf.pem"), leaf.cert);
    await writeFile(at("leaf.key"), leaf.key, { mode: 0o600 });
    const server = await startMariaDb({
      tls: leaf,
      settings: {
        ...{ ssl_ca: at("clients.pem"), require_secure_transport: "1", innodb_buffer_pool_size: "1G" },
        ...{ innodb_log_file_size: "1G", query_cache_type: "0" },
      },
    });
    undo.push(() => server.stop());
    await server.addUser(account.user, { password: secret(account.password) });
    await server.addDatabase(account.database);
    await server.sql(
      account.database,
      `grant all on ${account.database}.* to ${account.user};
       create table sbtest1 (id int auto_increment primary key, k int not null default 0, c char(120) not null default '', pad char(60) not null default '', key k_1 (k));
       insert into sbtest1 (k, c, pad) select seq, repeat('c', 119), repeat('p', 59) from seq_1_to_${table.rows};
       create table bulk (id int primary key, line varchar(1000) character set latin1);
       insert into bulk select seq, repeat('x', 1000) from seq_1_to_${dumped.rows}`,
    );
    return {
      ...{ folder, host: "127.0.0.1", port: server.port, ca: authority.ca, caFile: at("cacert.pem") },
      ...{ files: { cert: at("leaf.pem"), key: at("leaf.key") }, version: server.version, close },
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};
