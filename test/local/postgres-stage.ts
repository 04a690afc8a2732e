import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import type { Ask, FrontOptions } from "@sallyport/local/front";
import { type Front, startFront } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import * as bytes from "./postgres-bytes.ts";

export const host = "orders.abc.eu-west-1.rds.amazonaws.com";
export const reader = "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com";
export const token = `${host}:5432/?Action=connect&DBUser=ada&X-Amz-Signature=${"0".repeat(1500)}`;
export const v30 = 0x30000;
export const v32 = 0x30002;

export let postgres: Postgres;
export let certificate: Certificate;
const fronts: Front[] = [];
const clients: pg.Client[] = [];
export const asked: Ask[] = [];

beforeAll(async () => {
  const authority = await createAuthority({ now: Date.now() });
  certificate = await authority.issue([host, reader]);
  postgres = await startPostgres();
  await postgres.addUser("ada", { iam: true });
  await postgres.addUser("user", { iam: true });
  await postgres.addUser("grace", { password: secret("hopper") });
  await postgres.addDatabase("orders");
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})));
  await Promise.all(fronts.splice(0).map((front) => front.close()));
  asked.splice(0);
});
afterAll(() => postgres.stop());

export const front = async (options: Partial<FrontOptions> = {}): Promise<Front> => {
  const check = (ask: Ask): boolean => {
    asked.push(ask);
    return ask.password.reveal() === token;
  };
  const started = await startFront({ upstream: postgres.socket, identity: certificate, check, ...options });
  fronts.push(started);
  return started;
};

export interface Login {
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  readonly sslnegotiation?: "direct";
}
const client = (to: Front, login: Login = {}): pg.Client => {
  const { user = "ada", password = token, database = "orders", ...rest } = login;
  const ssl = { ca: certificate.ca, servername: host };
  const made = new pg.Client({ host: to.host, port: to.port, user, password, database, ssl, ...rest });
  made.on("error", () => {}); // a session that is cut fails its query too
  clients.push(made);
  return made;
};
export const login = async (to: Front, as: Login = {}): Promise<pg.Client> => {
  const made = client(to, as);
  await made.connect();
  return made;
};
export const tls = (to: Front): Promise<TLSSocket> => bytes.dialTls(to, { ca: certificate.ca, servername: host });

/** The error that the port answers to these bytes in plain text, and then the end of the stream. */
export const refusal = async (socket: Socket, ...packets: readonly Buffer[]): Promise<string> => {
  socket.write(Buffer.concat(packets));
  const stream = bytes.messages(socket);
  const { body } = await bytes.until(stream, "E");
  expect((await stream.next()).done).toBe(true);
  return bytes.errorText(body);
};

/** A session at protocol level, ready for a query, with its cancel key. */
export const session = async (to: Front, version: number) => {
  const socket = await tls(to);
  socket.write(bytes.startup(version, "user", "ada", "database", "orders"));
  const stream = bytes.messages(socket);
  expect((await bytes.until(stream, "R")).body).toEqual(Buffer.from([0, 0, 0, 3]));
  socket.write(bytes.message("p", `${token}\0`));
  const { body: key } = await bytes.until(stream, "K");
  await bytes.until(stream, "Z");
  return { socket, stream, key };
};
export const cancelOf = (key: Buffer): Buffer => bytes.packet(80_877_102, key);
