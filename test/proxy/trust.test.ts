// TLS as the proxy offers it: which versions and ciphers, and a certificate that changes without anybody noticing.
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { createAuthority } from "@sallyport/local/certificate";
import { openTrust } from "@sallyport/proxy/trust";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isOnPath, run } from "../e2e/clients/program.ts";
import { dialTls, testCertificate } from "./house.ts";

let server: Server;
let port = 0;
let arrivals: Promise<TLSSocket>[] = [];
let serve: (socket: Socket) => Promise<TLSSocket>;
let sockets: Socket[] = [];

beforeEach(async () => {
  const trust = openTrust(await testCertificate());
  serve = trust.secure;
  arrivals = [];
  sockets = [];
  server = createServer((socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
    const arrival = serve(socket);
    arrival.catch(() => {});
    arrivals.push(arrival);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

describe("what is offered", () => {
  it("S-21 is AES-GCM first, over TLS 1.3 and over TLS 1.2", async () => {
    for (const [max, cipher] of [
      ["TLSv1.3", "TLS_AES_128_GCM_SHA256"],
      ["TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ] as const) {
      const client = await dialTls(port, { max });
      expect(client.getProtocol()).toBe(max);
      expect(client.getCipher().name).toBe(cipher);
      client.destroy();
    }
  });

  it("S-21 is nothing older than TLS 1.2, and no CBC", async () => {
    const { ca } = await testCertificate();
    const base = { host: "127.0.0.1", port, ca, servername: "localhost" };
    for (const options of [
      { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
      { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256" },
    ] as const) {
      const client = connect({ ...base, ...options });
      const [error] = await once(client, "error");
      expect(error).toBeInstanceOf(Error);
    }
    for (const arrival of arrivals) await expect(arrival).rejects.toMatchObject({ code: "protocol" });
  });

  it("S-21 can't be renegotiated", async () => {
    const client = await dialTls(port, { max: "TLSv1.2" });
    const refused = await new Promise((resolve) => {
      client.once("error", resolve);
      client.once("close", resolve);
      client.renegotiate({}, resolve);
    });
    expect(refused).not.toBeNull();
    client.destroy();
  });
});

describe("a name", () => {
  it("S-21 that is not ours is shown our certificate all the same, and the client refuses it by itself", async () => {
    const { ca } = await testCertificate();
    const client = connect({ host: "127.0.0.1", port, ca, servername: "other.test" });
    const [error] = await once(client, "error");
    expect(error).toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    // who names nobody, as a client of an address does, is shown the same
    const nameless = connect({ host: "127.0.0.1", port, ca });
    await once(nameless, "secureConnect");
    expect(nameless.authorized).toBe(true);
    nameless.destroy();
  });
});

describe("resumption", () => {
  it("S-21 never takes early data: what a resuming client sends with its first flight can't be replayed here", async ({
    skip,
  }) => {
    skip(!isOnPath("openssl"), "openssl is not on PATH");
    const folder = await mkdtemp(join(tmpdir(), "early-"));
    const { ca } = await testCertificate();
    const heard: string[] = [];
    const take = serve;
    serve = async (socket) => {
      const secured = await take(socket);
      secured.on("data", (chunk: Buffer) => heard.push(chunk.toString()));
      secured.end("bye\n");
      return secured;
    };
    try {
      await writeFile(join(folder, "ca"), ca);
      await writeFile(join(folder, "early"), "replayed");
      const args = `s_client -connect 127.0.0.1:${port} -servername localhost -tls1_3 -verify_return_error -CAfile ${join(folder, "ca")}`;
      const first = await run("openssl", [...args.split(" "), "-sess_out", join(folder, "session"), "-ign_eof"]);
      expect(first.stdout).toContain("bye");
      expect(first.stdout).toMatch(/Max Early Data: 0\b/);
      const early = ["-sess_in", join(folder, "session"), "-early_data", join(folder, "early"), "-ign_eof"];
      const second = await run("openssl", [...args.split(" "), ...early]);
      expect(second.stdout).toMatch(/Early data was (not sent|rejected)/);
      expect(heard.join("")).not.toContain("replayed");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("a handshake", () => {
  it("that the client leaves is over", async () => {
    const client = await dialTls(port);
    const [arrival] = arrivals;
    const secured = await arrival;
    const closed = once(secured ?? client, "close");
    client.destroy();
    secured?.resume();
    await closed;
  });

  it("on a socket that is gone already fails at once", async () => {
    const trust = openTrust(await testCertificate());
    const client = await dialTls(port);
    await arrivals[0];
    const [raw] = sockets;
    if (!raw) throw new Error("nobody came");
    raw.destroy();
    await expect(trust.secure(raw)).rejects.toMatchObject({ code: "protocol" });
    client.destroy();
  });
});

it("shows a new certificate to those who come after it, and disturbs nobody", async () => {
  const first = await testCertificate();
  const trust = openTrust(first);
  serve = trust.secure;
  const before = await dialTls(port);
  const second = await (await createAuthority({ now: Date.now() })).issue(["localhost"]);
  trust.swap(second);
  const after = connect({ host: "127.0.0.1", port, ca: second.ca, servername: "localhost" });
  await once(after, "secureConnect");
  const shown = (socket: TLSSocket): PeerCertificate => socket.getPeerCertificate();
  expect(shown(after).fingerprint256).not.toBe(shown(before).fingerprint256);
  const [secured] = await Promise.all(arrivals);
  const heard = once(before, "data");
  secured?.write("still here");
  expect(String((await heard)[0])).toBe("still here");
  before.destroy();
  after.destroy();
});

it("refuses a key that is not the certificate's, and keeps what it had", async () => {
  const first = await testCertificate();
  const other = await (await createAuthority({ now: Date.now() })).issue(["localhost"]);
  const trust = openTrust(first);
  expect(() => trust.swap({ cert: first.cert, key: other.key })).toThrow();
  serve = trust.secure;
  const client = await dialTls(port);
  expect(client.authorized).toBe(true);
  client.destroy();
});
