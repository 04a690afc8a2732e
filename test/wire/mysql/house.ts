// A real MariaDB with its front, and our two ways in before it: a plain port with TLS and a door as the gate leaves it. Everything
// of the proxy but its decisions: what passes here is this protocol's own.
import { once } from "node:events";
import { connect as dial, type Server as Listener, type Socket as TcpSocket } from "node:net";
import { connect as secure } from "node:tls";
import type { Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import type { Front } from "@sallyport/local/mariadb/front";
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import { openTrust, type Trust } from "@sallyport/proxy/trust";
import { mysql } from "@sallyport/wire/mysql/mysql";
import type { Arrival, End, Gate, Peer, Socket, Upstream } from "@sallyport/wire/protocol";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { grantFor, type Session, session } from "../door.ts";
import { listen } from "../listener.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const iamToken = `${host}:3306/?Action=connect&DBUser=ada&X-Amz-Signature=${"0".repeat(1500)}`;
export const connectToken = `sct_${"a1B2".repeat(11)}`;

export let database: MariaDb;
export let certificate: Certificate;
let trust: Trust;
let front: Front;
const sockets = new Set<Socket>();
const listeners: Listener[] = [];
const installed = await haveBinaries();

beforeEach(({ skip }) => skip(!installed, `no MariaDB here: ${howToInstall}`));
beforeAll(async () => {
  if (!installed) return;
  certificate = await (await createAuthority({ now: Date.now() })).issue([host, "localhost", "127.0.0.1"]);
  trust = openTrust(certificate);
  database = await startMariaDb({ tls: certificate, settings: { local_infile: "1", max_allowed_packet: "128M" } });
  await database.addUser("ada", { iam: true });
  await database.addUser("grace", { password: secret("hopper") });
  await database.addDatabase("orders");
  await database.addDatabase("stock");
  for (const user of ["ada", "grace"])
    await database.sql("", `grant all on orders.* to ${user}; grant all on stock.* to ${user}`);
  front = await database.front({ identity: certificate, check: ({ password }) => password.reveal() === iamToken });
}, 60_000);
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  for (const listener of listeners.splice(0)) listener.close();
});
afterAll(async () => {
  await front?.close();
  await database?.stop();
});

const kept = <T extends Socket>(socket: T): T => {
  sockets.add(socket);
  return socket.on("error", () => {}).once("close", () => sockets.delete(socket));
};

const iam: Credential = { as: "password", user: "ada", password: secret(iamToken), methods: "clear" };
export const password = (text = "hopper", methods: "clear" | "challenge" = "challenge"): Credential => ({
  ...{ as: "password", user: "grace", methods },
  password: secret(text),
});

/** The front by a token, MariaDB's own TLS port by a password. */
const upstreamAs = (credential: Credential): Upstream => {
  const port = () => (credential.as === "password" && credential.methods === "clear" ? front.port : database.port);
  return {
    database: { name: "orders", endpoint: makeDatabase().endpoint },
    tcp: async (at?: Peer) => {
      const socket = kept(dial(at?.port ?? port(), "127.0.0.1"));
      await once(socket, "connect");
      return { socket, peer: at ?? { address: "127.0.0.1", port: port() } };
    },
    secure: async (socket) => {
      const secured = kept(secure({ socket, ca: certificate.ca, servername: host }));
      await once(secured, "secureConnect");
      return secured;
    },
    credential: async () => credential,
  };
};

export interface Door {
  readonly port: number;
  /** One a connection that came to be a session. */
  readonly sessions: Session[];
  readonly ends: End[];
  readonly failures: Failure[];
}
export interface DoorOptions {
  readonly credential?: Credential;
  readonly grant?: Grant;
  /** What the role allows while the session lives. */
  readonly localFiles?: boolean;
}

/** The one login's shape without its decisions: whoever shows the token is in, and keys are looked up among the doors. */
export const openDoor = async (way: "plain" | "gate", options: DoorOptions = {}): Promise<Door> => {
  const { credential = iam, localFiles = false } = options;
  const grant = options.grant ?? { ...grantFor({ user: credential.user }), dbName: undefined, localFiles };
  const door = { port: 0, sessions: [] as Session[], ends: [] as End[], failures: [] as Failure[] };
  const keys = new Map<string, () => Promise<void>>();

  const serve = async (raw: TcpSocket): Promise<void> => {
    const upstream = upstreamAs(credential);
    const arrived = way === "gate" ? { arrived: { ask: { user: credential.user }, grant, upstream } } : {};
    const gate: Gate = { secure: trust.secure, deadline: { start: () => {}, stop: () => {} }, ...arrived };
    const arrival: Arrival<Parameters<typeof mysql.refuse>[0], Parameters<typeof mysql.login>[2]> = await mysql.accept(
      raw,
      gate,
    );
    if (!("ask" in arrival)) return;
    const { ask, client, wanted } = arrival;
    try {
      if (way === "plain" && (ask.token?.reveal() !== connectToken || ask.user !== credential.user))
        throw new Failure("bad_token", "the connect token is not good");
      const server = await mysql.login(upstream, grant, wanted);
      const seen = session();
      await mysql.welcome(client, server, {
        random: (bytes) => Buffer.alloc(bytes, 7),
        register: (key, rules) =>
          void keys.set(key, async () =>
            rules?.ends ? seen.end(new Failure("ended", "ended by its own user")) : mysql.cancel(server, upstream),
          ),
      });
      door.sessions.push(seen);
      const live = {
        ...seen.live,
        guard: () =>
          localFiles
            ? undefined
            : { denied: true as const, reasons: [{ code: "option" as const, text: "no local files" }] },
        cancel: async (key: string) => {
          await seen.live.cancel(key);
          await keys.get(key)?.();
        },
      };
      door.ends.push(await mysql.relay(client, server, live));
    } catch (thrown) {
      door.failures.push(toFailure(thrown));
      await mysql.refuse(client, toFailure(thrown));
    }
  };
  const { listener, port } = await listen(
    (raw) => serve(kept(raw)),
    (thrown) => void door.failures.push(toFailure(thrown)),
  );
  listeners.push(listener);
  door.port = port;
  return door;
};
