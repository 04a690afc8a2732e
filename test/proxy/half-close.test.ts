// A client that has said all it wants to say, and still listens: through real TLS on both ways in, to a real PostgreSQL.
import { once } from "node:events";
import { connect as dial, type Socket } from "node:net";
import { connect as secure } from "node:tls";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { type Front, startFront } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import type { ProxyParts } from "@sallyport/proxy/proxy";
import { postgres as protocol } from "@sallyport/wire/postgres/postgres";
import { afterAll, beforeAll, expect, it } from "vitest";
import { message, sslRequest, startupOf } from "../wire/door.ts";
import { dialTcp, dialTls, enterGate, eventually, type House, openHouse } from "./house.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
let database: Postgres;
let certificate: Certificate;
let front: Front;
let house: House;

beforeAll(async () => {
  certificate = await (await createAuthority({ now: Date.now() })).issue([host]);
  database = await startPostgres();
  await database.addUser("reader", { iam: true });
  await database.addDatabase("orders", "reader");
  front = await startFront({ upstream: database.socket, identity: certificate, check: () => true });
  house = await openHouse({ protocols: { postgres: protocol }, upstream });
});
afterAll(async () => {
  await house?.close();
  await front?.close();
  await database?.stop();
});

const upstream: ProxyParts["upstream"] = (of, grant) => ({
  database: of,
  tcp: async () => {
    const socket = dial(front.port, "127.0.0.1");
    await once(socket, "connect");
    return { socket, peer: { address: "127.0.0.1", port: front.port } };
  },
  secure: async (socket) => {
    const secured = secure({ socket, ca: certificate.ca, servername: host });
    await once(secured, "secureConnect");
    return secured;
  },
  credential: async () => ({ as: "password", user: grant.dbUser, password: secret("iam"), methods: "clear" }),
});

/** What the socket says, from now to `done` or its end. */
const hear = (socket: Socket, done: (said: string) => boolean): Promise<string> =>
  new Promise((resolve) => {
    let said = "";
    const stop = (): void => {
      socket.off("data", read);
      resolve(said);
    };
    const read = (chunk: Buffer): void => {
      said += chunk.toString("latin1");
      if (done(said)) stop();
    };
    socket.on("data", read).once("end", stop).once("close", stop);
  });
const ready = message("Z", "I").toString("latin1");
const startup = startupOf("user\0reader\0database\0orders\0\0");

const plain = async (max: "TLSv1.2" | "TLSv1.3"): Promise<Socket> => {
  const raw = await dialTcp(house.proxy.ports["postgres"] ?? 0);
  raw.write(sslRequest);
  expect((await once(raw, "data"))[0].toString()).toBe("S");
  raw.removeAllListeners("data");
  const socket = await dialTls(0, { over: raw, max });
  socket.write(startup);
  await hear(socket, (said) => said.length >= 9);
  socket.write(message("p", (await house.issue()).token, "\0"));
  return socket;
};
const gate = async (): Promise<Socket> => {
  const { socket } = await enterGate(house.proxy, await house.issueBound());
  socket.removeAllListeners("data");
  socket.write(startup);
  return socket;
};

it.each([
  ["the plain port, TLS 1.2", () => plain("TLSv1.2")],
  ["the plain port, TLS 1.3", () => plain("TLSv1.3")],
  ["the gate", gate],
] as [string, () => Promise<Socket>][])("S-37 a half-close loses no answer: %s", async (_name, enter) => {
  const socket = await enter();
  await hear(socket, (said) => said.endsWith(ready));
  const answers = hear(socket, () => false);
  socket.end(message("Q", "select pg_sleep(0.2), 'the answer'; select repeat('x', 1000000)\0"));
  const said = await answers;
  expect(said).toContain("the answer");
  expect(said.length).toBeGreaterThan(1_000_000);
  expect(said.endsWith(ready)).toBe(true);
  await eventually(() => house.proxy.counts().sessions === 0);
});
