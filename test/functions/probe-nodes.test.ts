// The probe on a cluster that names its own nodes, by a server of this file that says whatever a test wants: what is no address of
// AWS's is not dialled, however it is named.
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { loadRoots } from "@sallyport/aws/roots";
import type { Probed } from "@sallyport/core/probe";
import { openProbe, type ProbeParts } from "@sallyport/functions/probe";
import { createAuthority } from "@sallyport/local/certificate";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { context } from "./world.ts";

const domain = "wares.abc123.memorydb.eu-west-1.amazonaws.com";
const host = `clustercfg.${domain}`;
const servers: Server[] = [];
let parts: ProbeParts;
let folder: string;
let named: readonly (readonly [string, number])[] = [];
let untold: string | undefined;
const resolved: string[] = [];

const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;
const list = (...items: readonly string[]): string => `*${items.length}\r\n${items.join("")}`;
/** Each node owns an equal part of the slots. */
const slots = (): string =>
  list(
    ...named.map(([address, port], at) => {
      const from = Math.floor((at * 16_384) / named.length);
      const to = Math.floor(((at + 1) * 16_384) / named.length) - 1;
      return list(`:${from}\r\n`, `:${to}\r\n`, list(bulk(address), `:${port}\r\n`, bulk(`node-${at}`)));
    }),
  );
const answer = (socket: TLSSocket) => (bytes: Buffer) => {
  for (const one of bytes.toString("latin1").split(/(?=\*\d+\r\n)/)) {
    if (/\r\nHELLO\r\n/.test(one))
      socket.write(list(bulk("server"), bulk("redis"), bulk("proto"), ":2\r\n", bulk("mode"), bulk("cluster")));
    else if (/\r\nSLOTS\r\n/.test(one)) socket.write(untold ?? slots());
    else if (/\r\nNODES\r\n/.test(one)) socket.write(bulk("node-0 :0@0 myself,master - 0 0 1 connected"));
    else socket.write("+OK\r\n");
  }
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-probe-"));
  const authority = await createAuthority({ now: Date.now() });
  const { cert, key } = await authority.issue([`*.${domain}`]);
  const file = join(folder, "ca.pem");
  await writeFile(file, authority.ca);
  const roots = await loadRoots({ file });
  for (let left = 3; left > 0; left--) {
    const server = createServer({ cert, key }, (socket) => {
      socket.on("error", () => {});
      socket.on("data", answer(socket));
    });
    server.on("tlsClientError", () => {});
    servers.push(server);
    await once(server.listen(0, "127.0.0.1"), "listening");
  }
  const resolve = async (name: string): Promise<readonly string[]> => {
    resolved.push(name);
    return ["127.0.0.1"];
  };
  parts = { roots: async () => roots, allow: ["127.0.0.0/8"], resolve, within: 2_000 };
});
beforeEach(() => {
  untold = undefined;
  resolved.splice(0);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  await rm(folder, { recursive: true, force: true });
});

const port = (at = 0): number => ((servers[at] as Server).address() as AddressInfo).port;
const probe = async (): Promise<Probed["nodes"]> => {
  const event = {
    protocol: "redis",
    endpoint: { host, port: port(), verifyName: host, roots: "amazon" },
    partition: "aws",
    region: "eu-west-1",
    database: "wares",
    user: "app",
    password: "canary-of-the-nodes",
    methods: "clear",
  };
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  return ((await openProbe(parts, silent)(event, context)) as Probed).nodes;
};

it("logs in at each node that the cluster names, once, beside the one that the endpoint leads to", async () => {
  named = [0, 1, 2].map((at) => [`node-${at}.${domain}`, port(at)] as const);
  const nodes = await probe();
  expect(nodes.map((node) => [node.port, node.result])).toEqual([0, 1, 2].map((at) => [port(at), "ok"]));
  expect(resolved.toSorted()).toEqual([host, ...named.map(([name]) => name)].toSorted());
});

it("a node that is not there is unreachable, whatever the others say", async () => {
  const gone = createServer();
  await once(gone.listen(0, "127.0.0.1"), "listening");
  const nowhere = (gone.address() as AddressInfo).port;
  await new Promise((closed) => gone.close(closed));
  named = [
    [`node-1.${domain}`, port()],
    [`node-2.${domain}`, nowhere],
  ];
  expect(await probe()).toMatchObject([{ result: "ok" }, { result: "unreachable", port: nowhere }]);
});

it.each(["evil.example", `node.${domain}.evil.example`, "node.abc123.memorydb.us-east-1.amazonaws.com"])(
  "S-35 S-33 a node named %s is not looked up, and the whole is not ok",
  async (evil) => {
    named = [[evil, port()]];
    expect(await probe()).toMatchObject([
      { result: "ok" },
      { address: evil, result: "unreachable", code: "upstream_untrusted" },
    ]);
    expect(resolved).toEqual([host]);
  },
);

it("S-35 S-33 a node at the address of the metadata service is not dialled", async () => {
  named = [["169.254.169.254", 80]];
  expect(await probe()).toMatchObject([
    { result: "ok" },
    { address: "169.254.169.254", result: "unreachable", tls: false },
  ]);
});

it.each([
  ["does not let the user ask for them", "-NOPERM this user has no permissions to run the 'cluster|slots' command\r\n"],
  ["has none that owns a slot", "*0\r\n"],
])("a cluster that does not tell its nodes (%s) has refused no password", async (_, said) => {
  untold = said;
  named = [[`node-1.${domain}`, port()]];
  expect(await probe()).toMatchObject([{ result: "unreachable", tls: true }]);
});
