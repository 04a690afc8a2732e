// What all ways of this bench have in common: a folder with certificates, and the target as a process of its own.
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "@sallyport/local/certificate";
import { launcher } from "@sallyport/local/launcher";
import { startTask } from "@sallyport/local/task";
import { awsName, type Bench, cipher } from "../server.ts";

export interface MongoBench extends Pick<Bench, "folder" | "host" | "port" | "ca" | "caFile" | "files" | "cipher"> {
  /** Tells how many connections there were at once. */
  readonly teller: number;
  close(): Promise<void>;
}

export const openMongoBench = async (): Promise<MongoBench> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o711);
    const put = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text, { mode: 0o600 });
      return join(folder, name);
    };
    const authority = await createAuthority({ now: Date.now(), name: "Benchmark root" });
    const leaf = await authority.issue(["localhost", "127.0.0.1", awsName]);
    const files = {
      cert: await put("leaf.pem", leaf.cert),
      key: await put("leaf.key", leaf.key),
      pair: await put("pair.pem", `${leaf.cert}\n${leaf.key}`),
    };
    const caFile = await put("ca.pem", authority.ca);
    const target = await startTask({
      entry: new URL("target.ts", import.meta.url).pathname,
      flags: [],
      launcher: launcher("KILL"),
      env: { TARGET_CERT: files.cert, TARGET_KEY: files.key, TARGET_CIPHER: cipher },
    });
    undo.push(() => target.kill());
    const { mongodb: port, teller } = target.ready["ports"] as { mongodb: number; teller: number };
    return { folder, host: "127.0.0.1", port, ca: authority.ca, caFile, files, cipher, teller, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};
