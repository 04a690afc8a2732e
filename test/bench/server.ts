// The one server behind everything that is measured: PostgreSQL 18 with TLS on a loopback address of its own, where everybody
// gives a password in clear inside TLS, as with IAM. Its table and the rows to copy are made here.
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { secret } from "@sallyport/core/secret";
import { type Authority, type Certificate, createAuthority } from "@sallyport/local/certificate";
import { type Binaries, openBinaries } from "@sallyport/local/postgres/binaries";
import { startPostgres } from "@sallyport/local/postgres/server";

export const run = promisify(execFile);
export const account = { user: "bench", database: "bench", password: "a-fixed-password-for-one-run" } as const;
/** Rows of 1,000 characters: what COPY carries. */
export const copied = { rows: 100_000, bytes: 100_000 * 1_001 } as const;
/** The server's name as the proxy's kind wants it; a hosts file says where that is. */
export const awsName = "bench.abc.eu-west-1.rds.amazonaws.com";
export const cipher = "TLS_AES_128_GCM_SHA256";

export interface Bench {
  /** Everything that must be in a file; deleted at the end. Others than us may enter it. */
  readonly folder: string;
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly caFile: string;
  /** Certificate and key for whoever stands before the server, and both in one. */
  readonly files: { readonly cert: string; readonly key: string; readonly pair: string };
  /** Who servers run as that refuse to be root. */
  readonly as: Binaries["account"];
  /** libpq 18. */
  readonly libraries: string;
  readonly cipher: string;
  close(): Promise<void>;
}

const keep = async (path: string, text: string, as: Binaries["account"]): Promise<string> => {
  await writeFile(path, text, { mode: 0o600 });
  if (as.uid !== undefined && as.gid !== undefined) await chown(path, as.uid, as.gid);
  return path;
};

const openFiles = async (folder: string, as: Binaries["account"], of: { authority: Authority; leaf: Certificate }) => {
  const { authority, leaf } = of;
  const put = (name: string, text: string): Promise<string> => keep(join(folder, name), text, as);
  return {
    ca: await put("ca.pem", authority.ca),
    cert: await put("leaf.pem", leaf.cert),
    key: await put("leaf.key", leaf.key),
    pair: await put("pair.pem", `${leaf.cert}\n${leaf.key}`),
    hba: await put("hba.conf", "local all rdsadmin trust\nhostssl all all all password\n"),
  };
};

export const openBench = async (): Promise<Bench> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const binaries = await openBinaries("embedded");
    undo.push(() => binaries.remove());
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o711);
    // the server's port is fixed, so its address is what is free
    const host = `127.${randomInt(1, 255)}.${randomInt(255)}.${randomInt(1, 255)}`;
    const authority = await createAuthority({ now: Date.now(), name: "Benchmark root" });
    const leaf = await authority.issue(["localhost", "127.0.0.1", host, awsName]);
    const as = binaries.account;
    const files = await openFiles(folder, as, { authority, leaf });
    const server = await startPostgres({
      binaries,
      settings: {
        ...{ listen_addresses: host, hba_file: files.hba, max_connections: "1200", shared_buffers: "256MB" },
        ...{ ssl: "on", ssl_cert_file: files.cert, ssl_key_file: files.key, ssl_tls13_ciphers: cipher },
        // what a login costs must be the way there, not the server's own key stretching
        ...{ scram_iterations: "1", autovacuum: "off", max_wal_size: "4GB" },
      },
    });
    undo.push(() => server.stop());
    await server.addUser(account.user, { password: secret(account.password) });
    await server.addDatabase(account.database, account.user);
    await server.sql(
      account.database,
      `create table bulk as select repeat('x', 1000) as line from generate_series(1, ${copied.rows});
       create table drain (line text); grant all on bulk, drain to ${account.user}; grant all on schema public to ${account.user}`,
    );
    const libraries = join(dirname(binaries.programs), "lib");
    const bench = { folder, host, port: 5432, ca: authority.ca, caFile: files.ca, files, as, libraries, cipher, close };
    await writeFile(join(folder, "bulk.txt"), `${"x".repeat(1000)}\n`.repeat(copied.rows));
    return bench;
  } catch (thrown) {
    await close();
    throw thrown;
  }
};
