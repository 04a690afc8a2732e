// What is behind everything that is measured with Redis's protocol: one server with TLS, and a cluster of three, each with the one user.
import { randomInt } from "node:crypto";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "@sallyport/local/certificate";
import { type Redis, type RedisOptions, startRedis } from "@sallyport/local/redis/server";
import { account, awsName, type Bench, cipher } from "../server.ts";

export interface RedisBench extends Pick<Bench, "folder" | "host" | "port" | "ca" | "caFile" | "files" | "cipher"> {
  readonly version: string;
  close(): Promise<void>;
}

const open = async (options: RedisOptions): Promise<RedisBench> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o711);
    const authority = await createAuthority({ now: Date.now(), name: "Benchmark root" });
    const leaf = await authority.issue(["localhost", "127.0.0.1", awsName], undefined, "peer");
    const put = async (name: string, text: string): Promise<string> => {
      // servers do not run as root
      await writeFile(join(folder, name), text, { mode: 0o644 });
      return join(folder, name);
    };
    const files = {
      cert: await put("leaf.pem", leaf.cert),
      key: await put("leaf.key", leaf.key),
      pair: await put("pair.pem", `${leaf.cert}\n${leaf.key}`),
    };
    const caFile = await put("ca.pem", authority.ca);
    const redis: Redis = await startRedis({
      ...options,
      authority,
      settings: {
        ...{ "tls-cert-file": files.cert, "tls-key-file": files.key, "tls-ca-cert-file": caFile },
        ...{ "tls-ciphersuites": cipher, maxclients: "4000", save: "", appendonly: "no" },
      },
    });
    undo.push(() => redis.stop());
    for (const node of redis.nodes)
      await node.command("ACL", "SETUSER", account.user, "on", `>${account.password}`, "~*", "&*", "+@all");
    const [first] = redis.nodes;
    if (!first) throw new Error("there is no node");
    const { host, port } = first;
    return { folder, host, port, ca: authority.ca, caFile, files, cipher, version: redis.version, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};

export const openRedisBench = (): Promise<RedisBench> => open({});

/** Addresses of their own, so that all of them are the same port to whoever reads the topology. */
export const openClusterBench = (): Promise<RedisBench> => {
  const net = `127.${randomInt(1, 255)}.${randomInt(255)}`;
  const announced = [1, 2, 3].map((at) => ({ host: `${net}.${at}`, name: `${net}.${at}`, port: 6379 }));
  return open({ primaries: 3, announced });
};
