// TLS sessions are resumed with the very server that was verified, and with nobody who only stands where it stood.
import { EventEmitter, once } from "node:events";
import type { AddressInfo } from "node:net";
import { createSecureContext, createServer, type SecureVersion, type Server, type TLSSocket } from "node:tls";
import { type Dialling, openUpstream } from "@sallyport/aws/dial";
import { openResumption } from "@sallyport/aws/resumption";
import type { Roots } from "@sallyport/aws/roots";
import { secret } from "@sallyport/core/secret";
import { type Authority, createAuthority } from "@sallyport/local/certificate";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const other = "invoices.abc.eu-west-1.rds.amazonaws.com";
const credential = async () => ({ as: "password", user: "reader", password: secret("x"), methods: "clear" }) as const;
let authority: Authority;
let roots: Roots;
let servers: Server[];

const trust = (): Roots => {
  const context = createSecureContext({ ca: authority.ca, minVersion: "TLSv1.2" });
  return { rds: context, amazon: context };
};
beforeAll(async () => {
  authority = await createAuthority({ now: Date.now() });
});
beforeEach(() => {
  roots = trust();
  servers = [];
});
afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
});

const listen = async (names: readonly string[], maxVersion: SecureVersion = "TLSv1.3", port = 0): Promise<Server> => {
  const { cert, key } = await authority.issue(names);
  // a session comes with the first words at the latest
  const server = createServer({ cert, key, maxVersion, ALPNProtocols: ["one", "two"] }, (socket) => {
    socket.on("error", () => {});
    socket.end("hello");
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** Connects, hears the server out, and says whether the session was one from before. */
const isResumed = async (port: number, more: Partial<Dialling> = {}, name = host, alpn?: string): Promise<boolean> => {
  const upstream = openUpstream({
    database: makeDatabase({ endpoint: { host: name, port, verifyName: name, roots: "rds" }, vpcId: "vpc-1" }),
    ...{ credential, roots, allow: ["127.0.0.0/8"], resolve: async () => ["127.0.0.1"], ...more },
  });
  const { socket } = await upstream.tcp();
  const secured = (await upstream.secure(socket, alpn)) as TLSSocket;
  const resumed = secured.isSessionReused();
  const closed = once(secured, "close");
  secured.resume();
  await once(secured, "end");
  secured.end();
  await closed;
  return resumed;
};

describe.each(["TLSv1.2", "TLSv1.3"] as const)("a connection by %s", (version) => {
  it("resumes the session of the one before", async () => {
    const port = portOf(await listen([host], version));
    expect(await isResumed(port)).toBe(false);
    expect(await isResumed(port)).toBe(true);
    expect(await isResumed(port)).toBe(true);
  });

  it("S-35 never resumes for another name, other roots or another protocol", async () => {
    const port = portOf(await listen([host, other], version));
    expect(await isResumed(port)).toBe(false);
    expect(await isResumed(port, {}, other)).toBe(false);
    expect(await isResumed(port, { roots: trust() })).toBe(false);
    expect(await isResumed(port, {}, host, "one")).toBe(false);
    expect(await isResumed(port, {}, host, "two")).toBe(false);
    expect(await isResumed(port, {}, host, "two")).toBe(true);
  });

  it("S-35 keeps nothing of a server that was not verified", async () => {
    const port = portOf(await listen([other], version));
    for (const _ of [1, 2]) await expect(isResumed(port)).rejects.toMatchObject({ code: "upstream_untrusted" });
  });

  it("S-35 verifies whoever has taken the server's place", async () => {
    const first = await listen([host], version);
    const port = portOf(first);
    await isResumed(port);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await listen([other], version, port);
    await expect(isResumed(port)).rejects.toMatchObject({ code: "upstream_untrusted" });
  });
});

it("a session is offered for five minutes, however often it was resumed meanwhile", () => {
  const context = createSecureContext();
  const identity = { host, port: 1, verifyName: host, alpn: undefined };
  let now = 0;
  const open = () => openResumption(context, identity, () => now);
  const visit = (): boolean => {
    const one = open();
    const socket = new EventEmitter();
    one.watch(socket as TLSSocket);
    one.verified();
    socket.emit("session", Buffer.from("session"));
    return one.session !== undefined;
  };
  const seen = [0, 100, 200, 299, 300, 301].map((seconds) => {
    now = seconds * 1_000;
    return visit();
  });
  expect(seen).toEqual([false, true, true, true, false, true]);
  open().failed();
  expect(visit()).toBe(false);
});
