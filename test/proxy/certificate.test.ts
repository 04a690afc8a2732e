// A certificate that changes under a living proxy: sessions go on, those who come later see the new one, and whatever is broken,
// expired, not yet valid or half written is not taken.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { inspect } from "node:util";
import { type Authority, createAuthority, type Certificate as Issued } from "@sallyport/local/certificate";
import { type Certificate, openCertificate, parseHeld, sourceOf } from "@sallyport/proxy/certificate";
import type { Log } from "@sallyport/proxy/log";
import type { Identity } from "@sallyport/proxy/trust";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type House, makeClock, openHouse, type Talk, talk } from "./house.ts";

const day = 86_400_000;
const start = Date.now();

let authority: Authority;
let held: Identity;
let certificate: Certificate;
let house: House;
let logged: { level: string; message: string; facts: Readonly<Record<string, unknown>> }[];
const clock = makeClock(start);
const note =
  (level: string) =>
  (message: string, facts: object = {}) =>
    void logged.push({ level, message, facts: facts as Readonly<Record<string, unknown>> });
const log: Log = { info: note("info"), warn: note("warn"), error: note("error") };
const source = { name: "test", read: async () => held };
const lifetime = (from: number, to: number) => ({ notBeforeAt: start + from * day, notAfterAt: start + to * day });
const issue = (from = -1, to = 30): Promise<Issued> => authority.issue(["localhost"], lifetime(from, to));

beforeEach(async () => {
  logged = [];
  authority = await createAuthority({ now: start });
  held = await issue();
  certificate = await openCertificate({ source, clock, log });
  house = await openHouse({ trust: certificate.trust });
});
afterEach(() => house.close());

/** The serial number that a new client is shown on a port; it verifies in full. */
const shownOn = (port: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const gate = port === "gate";
    const socket: TLSSocket = connect({
      host: "127.0.0.1",
      port: house.proxy.ports[port] ?? 0,
      ca: authority.ca,
      servername: "localhost",
      ALPNProtocols: [gate ? "sallyport/1" : "lines"],
    });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
      socket.destroy();
    });
  });

/** A stock client, logged in on the plain port over TLS that it verifies in full. */
const session = async (): Promise<Talk> => {
  const socket = connect({
    ...{ host: "127.0.0.1", port: house.proxy.ports["postgres"] ?? 0, ca: authority.ca },
    ...{ servername: "localhost", ALPNProtocols: ["lines"] },
  });
  const { token } = await house.issue();
  const client = talk(socket);
  client.say(`LOGIN reader orders ${token}`);
  expect(await client.hear()).toMatch(/^WELCOME/);
  return client;
};
const problems = () => logged.filter(({ level }) => level === "error");

describe("a renewed certificate", () => {
  it("is shown to whoever comes after it, at the gate and on the plain port, and those inside go on", async () => {
    const [before, client] = [await shownOn("gate"), await session()];
    held = await issue();
    await certificate.refresh();
    const [gate, plain] = [await shownOn("gate"), await shownOn("postgres")];
    expect(gate).toBe(plain);
    expect(gate).not.toBe(before);
    client.say("select 1");
    expect(await client.hear()).toContain("select 1");
    client.socket.destroy();
    expect(logged.map(({ message }) => message)).toEqual(["certificate", "certificate.swap"]);
  });

  it("is taken once: nothing is said while it stays the same", async () => {
    for (let time = 0; time < 3; time++) await certificate.refresh();
    expect(logged.map(({ message }) => message)).toEqual(["certificate"]);
  });

  const broken: [string, () => Promise<Identity>, string][] = [
    ["has expired", () => issue(-30, -1), "expired"],
    ["is not valid yet", () => issue(1, 30), "is not valid before"],
    [
      "has another key",
      async () => ({ cert: (await issue()).cert, key: (await issue()).key }),
      "do not belong together",
    ],
    ["is cut short", async () => ({ ...(await issue()), cert: (await issue()).cert.slice(0, 200) }), "can't be read"],
    ["is none", async () => ({ cert: "", key: "" }), "can't be read"],
    ["can't be had", () => Promise.reject(new Error("throttled")), "throttled"],
  ];
  it.each(broken)(
    "that %s is not taken, is an error in the log, and the one before is still shown",
    async (_, make, why) => {
      const before = await shownOn("gate");
      const next = make();
      const read = source.read;
      source.read = () => next;
      try {
        await certificate.refresh();
      } finally {
        source.read = read;
      }
      expect(problems()).toHaveLength(1);
      expect(problems()[0]).toMatchObject({ message: "certificate.refused", facts: { from: "test" } });
      expect(JSON.stringify(problems())).toContain(why);
      expect(JSON.stringify(logged)).not.toContain("PRIVATE KEY");
      expect(await shownOn("gate")).toBe(before);
      held = await issue();
      await certificate.refresh();
      expect(await shownOn("gate")).not.toBe(before);
    },
  );

  it("that does not come is told of five days before the end", async () => {
    clock.move(24 * day);
    await certificate.refresh();
    expect(problems()).toEqual([]);
    clock.move(2 * day);
    await certificate.refresh();
    expect(problems()).toMatchObject([{ message: "certificate.late", facts: { from: "test" } }]);
    clock.move(-26 * day);
  });
});

describe("where it comes from", () => {
  it("a proxy without a certificate that is valid does not start", async () => {
    held = await issue(-30, -1);
    await expect(openCertificate({ source, clock, log })).rejects.toMatchObject({ code: "unavailable" });
  });

  it("files of one's own are read again, and a key that came before its certificate is waited for", async () => {
    const folder = await mkdtemp(join(tmpdir(), "certificate-"));
    const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    const write = async (file: string, text: string | Buffer) => writeFile(file, text);
    try {
      await write(certFile, held.cert);
      await write(keyFile, held.key);
      const own = sourceOf({ certFile, keyFile }, () => expect.unreachable());
      const kept = await openCertificate({ source: own, clock, log });
      const next = await issue();
      await write(keyFile, next.key);
      await kept.refresh();
      expect(problems()).toHaveLength(1);
      await write(certFile, next.cert);
      await kept.refresh();
      expect(logged.at(-1)).toMatchObject({ message: "certificate.swap", facts: { pin: next.pin } });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it.each(["", "{}", "[]", '{"key": "canary"}', "canary", '{"cert": 1, "key": "canary"}'])(
    "a secret that holds %j is refused without being told",
    (text) => {
      const thrown = ((): unknown => {
        try {
          return parseHeld(text);
        } catch (failure) {
          return failure;
        }
      })();
      expect(thrown).toMatchObject({ code: "unavailable" });
      expect(inspect(thrown, { depth: 9 })).not.toContain("canary");
    },
  );
});
