import { execFile } from "node:child_process";
import dns, { lookup as importedLookup } from "node:dns";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { applyHosts, preload, writeHosts } from "@sallyport/local/hosts";
import { afterEach, beforeEach, expect, test } from "vitest";

const reader = "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com";
let folder: string;
let file: string;
let undo: () => void;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-hosts-"));
  file = join(folder, "hosts.json");
  writeHosts(file, { [reader]: ["127.0.0.2", "127.0.0.3"] });
  undo = applyHosts(file);
});
afterEach(() => {
  undo();
  rmSync(folder, { recursive: true });
});

/** A server on one address, which says that address. */
const greeter = async (host: string, port: number): Promise<Server> => {
  const server = createServer((socket) => socket.end(host));
  server.listen({ host, port });
  await once(server, "listening");
  return server;
};
const greeting = (port: number, autoSelectFamily: boolean): Promise<string> =>
  new Promise((answer, refuse) => {
    let heard = "";
    connect({ host: reader, port, autoSelectFamily })
      .on("data", (bytes: Buffer) => (heard += bytes.toString()))
      .on("end", () => answer(heard))
      .on("error", refuse);
  });

test("each lookup gives the next address, and only that one", async () => {
  expect(await dns.promises.lookup(reader)).toEqual({ address: "127.0.0.2", family: 4 });
  expect(await dns.promises.lookup(reader, { all: true })).toEqual([{ address: "127.0.0.3", family: 4 }]);
  expect(await promisify(dns.lookup)(reader)).toEqual({ address: "127.0.0.2", family: 4 });
  const called = await new Promise((answer) => dns.lookup(reader, 4, (...all) => answer(all)));
  expect(called).toEqual([null, "127.0.0.3", 4]);
});

test("names are told apart as DNS does: whatever case, with or without the last dot", async () => {
  expect(await dns.promises.lookup(`${reader.toUpperCase()}.`)).toEqual({ address: "127.0.0.2", family: 4 });
});

test("an import of lookup by name is answered from the file too", async () => {
  expect(await promisify(importedLookup)(reader)).toEqual({ address: "127.0.0.2", family: 4 });
});

test.each(["sts.eu-west-1.amazonaws.com", "x.rds.cn-north-1.amazonaws.com.cn", "dynamodb.eu-west-1.api.aws"])(
  "%s is not in the file, and is not asked for outside",
  async (name) => {
    await expect(dns.promises.lookup(name)).rejects.toMatchObject({ code: "ENOTFOUND", hostname: name });
    await expect(promisify(dns.lookup)(name, { all: true })).rejects.toMatchObject({ code: "ENOTFOUND" });
  },
);

test("a name without an address of the wanted family is not found", async () => {
  await expect(dns.promises.lookup(reader, { family: 6 })).rejects.toMatchObject({ code: "ENOTFOUND" });
});

test("other names, and addresses, go to the real resolver", async () => {
  expect((await dns.promises.lookup("localhost", { family: 4 })).address).toBe("127.0.0.1");
  expect(await dns.promises.lookup("192.0.2.7")).toEqual({ address: "192.0.2.7", family: 4 });
});

test("what is written holds from the next lookup on", async () => {
  expect(await dns.promises.lookup(reader)).toMatchObject({ address: "127.0.0.2" });
  writeHosts(file, { [reader]: ["127.0.0.9"] });
  expect(await dns.promises.lookup(reader)).toMatchObject({ address: "127.0.0.9" });
});

test("a file that can't be read resolves nothing", async () => {
  writeFileSync(file, "{");
  await expect(dns.promises.lookup(reader)).rejects.toMatchObject({ code: "EAI_FAIL" });
  await expect(dns.promises.lookup("localhost")).rejects.toMatchObject({ code: "EAI_FAIL" });
});

test.each([true, false])(
  "connections alternate between two servers on one port (autoSelectFamily: %s)",
  async (auto) => {
    const first = await greeter("127.0.0.2", 0);
    const { port } = first.address() as { port: number };
    const second = await greeter("127.0.0.3", port);
    try {
      const heard: string[] = [];
      for (let at = 0; at < 4; at++) heard.push(await greeting(port, auto));
      expect(heard).toEqual(["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
    } finally {
      first.close();
      second.close();
    }
  },
);

test("a process started with the preload resolves by the file, for https too", async () => {
  const script = `
    const { lookup } = await import("node:dns/promises");
    const { get } = await import("node:https");
    console.log(JSON.stringify(await lookup("${reader}")));
    get("https://nowhere.amazonaws.com/").on("error", (error) => console.log(error.code));
  `;
  const { flags, env } = preload(file);
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, "--input-type=module", "-e", script], {
    env: { ...process.env, ...env },
  });
  expect(stdout.trim().split("\n")).toEqual(['{"address":"127.0.0.2","family":4}', "ENOTFOUND"]);
});
