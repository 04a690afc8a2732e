import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import type { Ask, FrontOptions } from "@sallyport/local/front";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import type { Front } from "@sallyport/local/mariadb/front";
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import mysql from "mysql2/promise";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";

export const host = "orders.abc.eu-west-1.rds.amazonaws.com";
export const token = `${host}:3306/?Action=connect&DBUser=ada&X-Amz-Signature=${"0".repeat(1500)}`;

export let server: MariaDb;
let certificate: Certificate;
export const asked: Ask[] = [];
const fronts: Front[] = [];
const clients: mysql.Connection[] = [];
const installed = await haveBinaries();

beforeEach(({ skip }) => skip(!installed, `no MariaDB here: ${howToInstall}`));
beforeAll(async () => {
  if (!installed) return;
  certificate = await (await createAuthority({ now: Date.now() })).issue([host]);
  server = await startMariaDb();
  await server.addUser("ada", { iam: true });
  await server.addUser("a[b", { iam: true });
  await server.addUser("grace", { password: secret("hopper") });
  await server.addDatabase("orders");
  await server.sql("", "grant all on orders.* to ada; grant all on orders.* to grace");
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(fronts.splice(0).map((front) => front.close()));
  asked.splice(0);
});
afterAll(() => server?.stop());

export const front = async (options: Partial<Omit<FrontOptions, "upstream">> = {}): Promise<Front> => {
  const check = (ask: Ask): boolean => {
    asked.push(ask);
    return ask.password.reveal() === token;
  };
  const started = await server.front({ identity: certificate, check, ...options });
  fronts.push(started);
  return started;
};

export const login = async (to: Front, over: mysql.ConnectionOptions = {}): Promise<mysql.Connection> => {
  const client = await mysql.createConnection({
    host: to.host,
    port: to.port,
    user: "ada",
    password: token,
    database: "orders",
    enableCleartextPlugin: true,
    // mysql2 verifies the address it dialled, which is loopback here
    ssl: { ca: certificate.ca, verifyIdentity: false },
    ...over,
  });
  client.on("error", () => {}); // a session that is cut fails its query too
  clients.push(client);
  return client;
};

const packet = (sequence: number, body: Uint8Array): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = sequence;
  return Buffer.concat([head, body]);
};

/** A login's head: capabilities, largest packet, character set. */
export const head = (capabilities: number): Buffer => {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32LE(capabilities >>> 0);
  bytes.writeUInt32LE(0x100_0000, 4);
  bytes[8] = 45;
  return bytes;
};
// protocol 4.1, a scramble with its length, a method by name
export const usual = 0x200 | 0x8000 | 0x8_0000;
const tlsBit = 0x800;
export const words = (user: string, auth: Uint8Array, method: string): Buffer =>
  Buffer.concat([Buffer.from(`${user}\0`), Buffer.from([auth.length]), auth, Buffer.from(`${method}\0`)]);

/** A connection at packet level. Each answer is `sequence` and `body`. */
export const dial = async (to: Front) => {
  const raw = await new Promise<Socket>((answer, refuse) => {
    const socket = connectTcp(to, () => answer(socket)).once("error", refuse);
  });
  raw.on("error", () => {});
  let stream: Socket | TLSSocket = raw;
  let held: Buffer = Buffer.alloc(0);
  const more = (): Promise<boolean> =>
    new Promise((answer) => {
      if (stream.destroyed || stream.readableEnded) return answer(false);
      const done = (chunk?: Buffer): void => {
        stream.pause();
        for (const event of ["data", "end", "close"]) stream.off(event, done);
        if (chunk instanceof Buffer) held = Buffer.concat([held, chunk]);
        answer(chunk instanceof Buffer);
      };
      for (const event of ["data", "end", "close"]) stream.on(event, done);
      stream.resume();
    });
  /** The next packet, or undefined at the end. */
  const hear = async (): Promise<{ sequence: number; body: Buffer } | undefined> => {
    while (held.length < 4 || held.length < 4 + held.readUIntLE(0, 3)) if (!(await more())) return undefined;
    const end = 4 + held.readUIntLE(0, 3);
    const heard = { sequence: held[3] ?? 0, body: held.subarray(4, end) };
    held = held.subarray(end);
    return heard;
  };
  return {
    hear,
    say: (sequence: number, body: Uint8Array): void => void stream.write(packet(sequence, body)),
    raw: (bytes: Uint8Array): void => void stream.write(bytes),
    secure: async (): Promise<void> => {
      stream = await new Promise<TLSSocket>((answer, refuse) => {
        const made = connectTls({ socket: raw, ca: certificate.ca, servername: host }, () => answer(made));
        made.once("error", refuse);
      });
      stream.on("error", () => {});
    },
    destroy: (): void => void raw.destroy(),
  };
};

/** Up to TLS, with what comes next due at number 2. */
export const dialTls = async (to: Front) => {
  const talk = await dial(to);
  await talk.hear();
  talk.say(1, head(usual | tlsBit));
  await talk.secure();
  return talk;
};

/** `errno sqlstate text` of an ERR packet. */
export const errorOf = (body: Buffer | undefined): string =>
  body?.[0] === 0xff
    ? `${body.readUInt16LE(1)} ${body.toString("utf8", 4, 9)} ${body.toString("utf8", 9)}`
    : "no error";
