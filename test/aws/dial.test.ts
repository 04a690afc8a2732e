import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createSecureContext, createServer as createTlsServer, type TlsOptions } from "node:tls";
import { Worker } from "node:worker_threads";
import { type Dialling, openUpstream } from "@sallyport/aws/dial";
import { loadRoots, type Roots } from "@sallyport/aws/roots";
import { secret } from "@sallyport/core/secret";
import { type Authority, createAuthority } from "@sallyport/local/certificate";
import type { Upstream } from "@sallyport/wire/protocol";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const credential = async () => ({ as: "password", user: "reader", password: secret("x"), methods: "clear" }) as const;
const day = 86_400_000;
let authority: Authority;
let roots: Roots;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  authority = await createAuthority({ now: Date.now() });
  const context = createSecureContext({ ca: authority.ca, minVersion: "TLSv1.2" });
  roots = { rds: context, amazon: context };
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const listen = async <S extends Server>(server: S, address = "127.0.0.1"): Promise<number> => {
  const open = new Set<Socket>();
  const seen = (socket: Socket): void => {
    open.add(socket.on("error", () => undefined));
    socket.once("close", () => open.delete(socket));
  };
  server.on("connection", seen);
  server.listen(0, address);
  await once(server, "listening");
  closing.push(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
};
/** A TLS server with a certificate for these names; answers with what it is sent. */
const listenTls = async (options: TlsOptions | undefined, names = [host]): Promise<number> => {
  const { cert, key } = await authority.issue(names);
  const server = createTlsServer(
    { cert, key, ...options },
    (socket) => void socket.on("error", () => undefined).pipe(socket),
  );
  return listen(server.on("tlsClientError", () => undefined));
};
const upstreamAt = (port: number, more: Partial<Dialling> = {}): Upstream =>
  openUpstream({
    database: makeDatabase({ endpoint: { host, port, verifyName: host, roots: "rds" }, vpcId: "vpc-1" }),
    credential,
    roots,
    allow: ["127.0.0.0/8"],
    resolve: async () => ["127.0.0.1"],
    ...more,
  });
const refusal = (code: string, message: string, hint: string) => ({
  code,
  message: expect.stringContaining(message),
  hint: expect.stringContaining(hint),
});
const secureAt = async (port: number, more: Partial<Dialling> = {}, alpn?: string) => {
  const upstream = upstreamAt(port, more);
  const { socket } = await upstream.tcp();
  closing.push(async () => socket.destroy());
  return upstream.secure(socket, alpn);
};
const answerOf = async (socket: Duplex): Promise<string> => {
  socket.write("hello");
  const [answer] = (await once(socket, "data")) as [Buffer];
  return answer.toString();
};

describe("dialling", () => {
  it("reaches the endpoint and says which address it is on", async () => {
    const server = createServer((socket) => void socket.pipe(socket));
    const port = await listen(server);
    const { socket, peer } = await upstreamAt(port).tcp();
    expect(peer).toEqual({ address: "127.0.0.1", port });
    expect(await answerOf(socket)).toBe("hello");
    socket.destroy();
  });

  it("asks the system for the name's addresses unless told otherwise", async () => {
    const port = await listen(createServer());
    const database = makeDatabase({ endpoint: { host: "localhost", port, verifyName: host, roots: "rds" } });
    const { socket } = await openUpstream({ database, credential, roots, allow: ["127.0.0.0/8", "::1/128"] }).tcp();
    socket.destroy();
    const gone = { ...database, endpoint: { ...database.endpoint, host: "orders.invalid" } };
    await expect(openUpstream({ database: gone, credential, roots }).tcp()).rejects.toMatchObject({
      code: "upstream_unreachable",
    });
  });

  it("S-35 never dials an address that no database has, whatever DNS says", async () => {
    let connections = 0;
    const port = await listen(createServer(() => void connections++));
    const resolve = async () => ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"];
    const upstream = upstreamAt(port, { allow: [], resolve });
    await expect(upstream.tcp()).rejects.toMatchObject({
      ...refusal("upstream_unreachable", "does not resolve to a database's address", "changed DNS"),
      cause: "127.0.0.1 is loopback, ::ffff:127.0.0.1 is loopback, 169.254.169.254 is link-local",
    });
    await expect(upstream.tcp({ address: "127.0.0.1", port })).rejects.toMatchObject({ code: "upstream_unreachable" });
    expect(connections).toBe(0);
  });

  it("S-35 dials the address that was checked: a name is looked up once per connection", async () => {
    const port = await listen(createServer());
    const answers = [["127.0.0.1"], ["169.254.169.254"]];
    const upstream = upstreamAt(port, { resolve: async () => answers.shift() ?? [] });
    const { socket, peer } = await upstream.tcp();
    expect([peer.address, answers.length]).toEqual(["127.0.0.1", 1]);
    socket.destroy();
    await expect(upstream.tcp()).rejects.toMatchObject({ code: "upstream_unreachable" });
  });

  it("tries the next address when one refuses, and skips those it may not dial", async () => {
    const port = await listen(createServer(), "127.0.0.2");
    const upstream = upstreamAt(port, { resolve: async () => ["169.254.169.254", "127.0.0.3", "127.0.0.2"] });
    const { socket, peer } = await upstream.tcp();
    expect(peer.address).toBe("127.0.0.2");
    socket.destroy();
  });

  it("dials a peer again only if it is one of the endpoint's", async () => {
    const port = await listen(createServer());
    const upstream = upstreamAt(port, { resolve: async () => ["127.0.0.2", "127.0.0.1"] });
    const at = { address: "127.0.0.1", port };
    await expect(upstream.tcp(at)).rejects.toMatchObject({ code: "upstream_unreachable" });
    const first = await upstream.tcp();
    const again = await upstream.tcp(first.peer);
    expect(again.peer).toEqual(at);
    for (const { socket } of [first, again]) socket.destroy();
    await expect(upstream.tcp({ ...at, port: port + 1 })).rejects.toMatchObject({
      message: expect.stringContaining("is not an address of orders"),
    });
  });

  it("says what to look at when nothing listens, and when the name is gone", async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    await expect(upstreamAt(port).tcp()).rejects.toMatchObject(
      refusal("upstream_unreachable", "nothing listens on 127.0.0.1", "stopped"),
    );
    const missing = Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" });
    await expect(upstreamAt(port, { resolve: () => Promise.reject(missing) }).tcp()).rejects.toMatchObject(
      refusal("upstream_unreachable", `${host} does not resolve`, "deleted"),
    );
  });

  it("gives up in time when DNS does not answer", async () => {
    const upstream = upstreamAt(1, { within: 20, resolve: () => new Promise(() => undefined) });
    await expect(upstream.tcp()).rejects.toMatchObject(
      refusal("upstream_unreachable", "could not be looked up (ETIMEDOUT)", "DNS"),
    );
  });

  it.skipIf(process.platform !== "linux")(
    "gives up in time when packets vanish, and names the security group",
    async () => {
      // a server that never accepts: once its queue is full the kernel drops what comes
      const deaf = new Worker(
        `const { parentPort } = require("node:worker_threads");
       const server = require("node:net").createServer().listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
         parentPort.postMessage(server.address().port);
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
       });`,
        { eval: true },
      );
      closing.push(() => deaf.terminate());
      const [port] = (await once(deaf, "message")) as [number];
      const fillers = Array.from({ length: 2 }, () => connect(port, "127.0.0.1"));
      await Promise.all(fillers.map((filler) => once(filler, "connect")));
      const upstream = upstreamAt(port, { within: 150 });
      await expect(upstream.tcp()).rejects.toMatchObject(
        refusal("upstream_unreachable", "does not answer", "security group"),
      );
      for (const filler of fillers) filler.destroy();
    },
  );

  it("says which VPC to be in when a private address does not answer", async () => {
    const { unreachable } = await import("@sallyport/aws/trouble");
    const late = Object.assign(new Error("late"), { code: "ETIMEDOUT" });
    const target = makeDatabase({ vpcId: "vpc-1" });
    expect(unreachable(target, [{ address: "10.0.3.4" }], late).hint).toContain("must be in vpc-1 in eu-west-1");
    expect(unreachable(target, [{ address: "52.30.1.2" }], late).hint).toContain("a way out to the internet");
  });

  it("a connection that breaks before anybody listens takes nothing down", async () => {
    const server = createServer();
    const port = await listen(server);
    const arrived = once(server, "connection");
    const { socket } = await upstreamAt(port).tcp();
    const [far] = (await arrived) as [Socket];
    const closed = new Promise<void>((resolve) => socket.once("close", resolve));
    far.resetAndDestroy();
    await closed;
    expect(socket.destroyed).toBe(true);
  });
});

describe("TLS to a database", () => {
  it("is there when the certificate is of a trusted authority and for the endpoint's name", async () => {
    const socket = await secureAt(await listenTls(undefined));
    expect(await answerOf(socket)).toBe("hello");
  });

  it("verifies the recorded name, not the host that was dialled", async () => {
    const port = await listenTls(undefined, ["primary.abc.eu-west-1.rds.amazonaws.com"]);
    const endpoint = { host, port, verifyName: "primary.abc.eu-west-1.rds.amazonaws.com", roots: "rds" } as const;
    expect(await answerOf(await secureAt(port, { database: makeDatabase({ endpoint }) }))).toBe("hello");
    const other = { ...endpoint, verifyName: host };
    await expect(secureAt(port, { database: makeDatabase({ endpoint: other }) })).rejects.toMatchObject(
      refusal("upstream_untrusted", `not for ${host}`, "something else answers"),
    );
  });

  it("asks for the name that was dialled, as behind a custom endpoint, and verifies the recorded one", async () => {
    const custom = "analytics.cluster-custom-abc.eu-west-1.rds.amazonaws.com";
    const asked: string[] = [];
    const { cert, key } = await authority.issue([host]);
    const SNICallback: TlsOptions["SNICallback"] = (name, done) => {
      asked.push(name);
      done(null, createSecureContext({ cert, key }));
    };
    const port = await listenTls({ SNICallback });
    const endpoint = { host: custom, port, verifyName: host, roots: "rds" } as const;
    expect(await answerOf(await secureAt(port, { database: makeDatabase({ endpoint }) }))).toBe("hello");
    expect(asked).toEqual([custom]);
  });

  it("S-35 a neighbour in the network, with a certificate of AWS's for itself, gets nothing of a login", async () => {
    let [credentials, heard] = [0, 0];
    const { cert, key } = await authority.issue(["billing.abc.eu-west-1.rds.amazonaws.com"]);
    const neighbour = createTlsServer({ cert, key }, (socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes: Buffer) => {
        heard += bytes.length;
      });
    });
    const port = await listen(neighbour.on("tlsClientError", () => undefined));
    const upstream = upstreamAt(port, {
      credential: () => {
        credentials += 1;
        return credential();
      },
    });
    const { socket } = await upstream.tcp();
    await expect(upstream.secure(socket)).rejects.toMatchObject({ code: "upstream_untrusted" });
    expect([credentials, heard, socket.destroyed]).toEqual([0, 0, true]);
  });

  it("S-34 refuses a certificate for another name", async () => {
    for (const name of [
      "other.abc.eu-west-1.rds.amazonaws.com",
      `${host}.evil.example`,
      "127.0.0.1",
      "*.amazonaws.com",
    ])
      await expect(secureAt(await listenTls(undefined, [name]))).rejects.toMatchObject({ code: "upstream_untrusted" });
  });

  it("S-34 refuses a certificate of an authority that is not AWS's", async () => {
    const stranger = await createAuthority({ now: Date.now() });
    const { cert, key } = await stranger.issue([host]);
    for (const chain of [cert, `${cert}\n${stranger.ca}`])
      await expect(secureAt(await listenTls({ cert: chain, key }))).rejects.toMatchObject(
        refusal("upstream_untrusted", "not from an authority of AWS", "bundle"),
      );
  });

  it("S-34 while AWS goes from one authority to the next, both are taken; without the old one what it signed is refused", async () => {
    const [next, stranger] = await Promise.all([1, 2].map(() => createAuthority({ now: Date.now() })));
    if (!next || !stranger) throw new Error("no authorities");
    const folder = await mkdtemp(join(tmpdir(), "roots-"));
    closing.push(() => rm(folder, { recursive: true, force: true }));
    const rootsOf = async (...pems: readonly string[]): Promise<Roots> => {
      await writeFile(join(folder, "bundle.pem"), pems.join("\n"));
      return loadRoots({ file: join(folder, "bundle.pem") });
    };
    const shown = async (by: Authority) => listenTls(await by.issue([host]));
    const both = await rootsOf(authority.ca, next.ca);
    for (const by of [authority, next])
      expect(await answerOf(await secureAt(await shown(by), { roots: both }))).toBe("hello");
    await expect(secureAt(await shown(stranger), { roots: both })).rejects.toMatchObject({
      code: "upstream_untrusted",
    });
    const after = await rootsOf(next.ca);
    expect(await answerOf(await secureAt(await shown(next), { roots: after }))).toBe("hello");
    await expect(secureAt(await shown(authority), { roots: after })).rejects.toMatchObject(
      refusal("upstream_untrusted", "not from an authority of AWS", "bundle"),
    );
  });

  it("S-34 refuses what has expired, and says how to rotate", async () => {
    const now = Date.now();
    const expired = await authority.issue([host], { notBeforeAt: now - 2 * day, notAfterAt: now - day });
    await expect(secureAt(await listenTls(expired))).rejects.toMatchObject(
      refusal("upstream_untrusted", "expired", "rds-ca-rsa2048-g1"),
    );
    const early = await authority.issue([host], { notBeforeAt: now + day, notAfterAt: now + 2 * day });
    await expect(secureAt(await listenTls(early))).rejects.toMatchObject(
      refusal("upstream_untrusted", "not valid yet", "clock"),
    );
  });

  it("S-34 refuses a server that answers in the clear, and says nothing to it", async () => {
    const heard: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on("data", (data: Buffer) => {
        heard.push(data);
        socket.write("EFATAL: no TLS here");
      });
    });
    await expect(secureAt(await listen(server))).rejects.toMatchObject(
      refusal("upstream_untrusted", "does not answer with TLS", "endpoint"),
    );
    const handshakeRecord = 22;
    expect(heard[0]?.[0]).toBe(handshakeRecord);
    expect(Buffer.concat(heard).includes("reader")).toBe(false);
  });

  it("S-34 can't be switched off by the environment", async () => {
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      const stranger = await createAuthority({ now: Date.now() });
      await expect(secureAt(await listenTls(await stranger.issue([host])))).rejects.toMatchObject({
        code: "upstream_untrusted",
      });
    } finally {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
    }
  });

  it("S-20 bytes that came before TLS end the connection", async () => {
    const port = await listen(createServer((socket) => void socket.write("Sextra")));
    const upstream = upstreamAt(port);
    const { socket } = await upstream.tcp();
    await once(socket, "readable");
    expect((socket.read(1) as Buffer).toString()).toBe("S");
    await expect(upstream.secure(socket)).rejects.toMatchObject(
      refusal("upstream_untrusted", "sent bytes before TLS", "tampering"),
    );
    expect(socket.destroyed).toBe(true);
  });

  it("does not wait for ever for a handshake, nor mind one that is broken off", async () => {
    const silent = await listen(createServer());
    await expect(secureAt(silent, { within: 50 })).rejects.toMatchObject(
      refusal("upstream_unreachable", "does not answer the TLS handshake", "try again"),
    );
    const closes = await listen(createServer((socket) => void socket.once("data", () => socket.end())));
    await expect(secureAt(closes)).rejects.toMatchObject({ code: "upstream_unreachable" });
    const resets = await listen(createServer((socket) => void socket.once("data", () => socket.resetAndDestroy())));
    await expect(secureAt(resets)).rejects.toMatchObject({ code: "upstream_unreachable" });
  });

  it("asks for a protocol where one is wanted, and insists on it", async () => {
    const speaks = await listenTls({ ALPNProtocols: ["postgresql"] });
    expect(await answerOf(await secureAt(speaks, {}, "postgresql"))).toBe("hello");
    await expect(secureAt(await listenTls(undefined), {}, "postgresql")).rejects.toMatchObject({
      code: "upstream_untrusted",
    });
    await expect(secureAt(await listenTls({ ALPNProtocols: ["h2"] }), {}, "postgresql")).rejects.toMatchObject({
      code: "upstream_untrusted",
    });
  });

  it("a certificate of one's own authority is trusted by a file, which replaces the sets", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-roots-"));
    closing.push(() => rm(folder, { recursive: true }));
    const file = join(folder, "ca.pem");
    await writeFile(file, `# ours\n${authority.ca}\n`);
    const port = await listenTls(undefined);
    expect(await answerOf(await secureAt(port, { roots: await loadRoots({ file }) }))).toBe("hello");
    await expect(secureAt(port, { roots: await loadRoots() })).rejects.toMatchObject({ code: "upstream_untrusted" });
    await writeFile(file, "nothing\n");
    await expect(loadRoots({ file })).rejects.toMatchObject({ code: "invalid" });
  });
});
