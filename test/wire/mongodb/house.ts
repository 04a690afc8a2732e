// Our two ways in before a target: a plain port with TLS and a door as the gate leaves it. Everything of the proxy but its
// decisions: what passes here is this protocol's own.
import { once } from "node:events";
import { connect as dial, type Server as Listener, type Socket as TcpSocket } from "node:net";
import { connect as secure } from "node:tls";
import type { Denial } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { openTrust, type Trust } from "@sallyport/proxy/trust";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import type { End, Gate, Live, Peer, Socket, Upstream } from "@sallyport/wire/protocol";
import { afterAll, afterEach, beforeAll } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { grantFor, type Session, session } from "../door.ts";
import { listen } from "../listener.ts";
import { openTarget, type Target } from "./target.ts";

const host = "orders.cluster-abc.eu-west-1.docdb.amazonaws.com";
const role = "arn:aws:iam::123456789012:role/reader";
export const connectToken = `sct_${"a1B2".repeat(11)}`;

export let certificate: Certificate;
export let target: Target;
let trust: Trust;
const sockets = new Set<Socket>();
const listeners: Listener[] = [];

beforeAll(async () => {
  certificate = await (await createAuthority({ now: Date.now() })).issue([host, "localhost", "127.0.0.1"]);
  trust = openTrust(certificate);
  target = await openTarget(certificate);
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  for (const listener of listeners.splice(0)) listener.close();
});
afterAll(() => target.close());

const kept = <T extends Socket>(socket: T): T => {
  sockets.add(socket);
  return socket.on("error", () => {}).once("close", () => sockets.delete(socket));
};

const aws: Credential = {
  as: "aws",
  user: role,
  sign: async (nonce, at) => ({
    authorization: `AWS4-HMAC-SHA256 of ${Buffer.from(nonce).toString("base64")} at ${at}`,
    date: "20261121T000000Z",
    sessionToken: secret("session-token"),
  }),
};

const upstreamTo = (): Upstream => ({
  database: { name: "orders", endpoint: makeDatabase().endpoint },
  tcp: async (at?: Peer) => {
    const socket = kept(dial(at?.port ?? target.port, "127.0.0.1"));
    await once(socket, "connect");
    return { socket, peer: at ?? { address: "127.0.0.1", port: target.port } };
  },
  secure: async (socket) => {
    const secured = kept(secure({ socket, ca: certificate.ca, servername: host }));
    await once(secured, "secureConnect");
    return secured;
  },
  credential: async () => aws,
});

export interface Door {
  readonly port: number;
  /** One a connection that came to be a session. */
  readonly sessions: Session[];
  readonly ends: End[];
  readonly failures: Failure[];
  /** Connections that came, and those that are there. */
  readonly came: () => number;
}
export interface DoorOptions {
  /** The person; two of them may have the same database user. */
  readonly user?: string;
  readonly guard?: (name: string) => Denial | undefined;
  readonly deadline?: Gate["deadline"];
}

/** The one login's shape without its decisions: whoever shows the token is in. */
export const openDoor = async (way: "plain" | "gate", options: DoorOptions = {}): Promise<Door> => {
  const grant = { ...grantFor({ user: "reader" }), user: options.user ?? "ada" };
  let came = 0;
  const door = { port: 0, sessions: [] as Session[], ends: [] as End[], failures: [] as Failure[], came: () => came };
  const serve = async (raw: TcpSocket): Promise<void> => {
    const upstream = upstreamTo();
    const arrived = way === "gate" ? { arrived: { ask: { user: "reader", name: "orders" }, grant, upstream } } : {};
    const deadline = options.deadline ?? { start: () => {}, stop: () => {} };
    const arrival = await mongodb.accept(raw, { secure: trust.secure, deadline, ...arrived });
    if (!("ask" in arrival)) return;
    const { ask, client, wanted } = arrival;
    try {
      if (way === "plain" && (ask.token?.reveal() !== connectToken || ask.user !== "reader"))
        throw new Failure("bad_token", "the connect token is not good");
      const server = await mongodb.login(upstream, grant, wanted);
      const seen = session();
      await mongodb.welcome(client, server);
      door.sessions.push(seen);
      const guard: Live["guard"] = (access) => ("name" in access ? options.guard?.(access.name) : undefined);
      door.ends.push(await mongodb.relay(client, server, { ...seen.live, guard }));
    } catch (thrown) {
      door.failures.push(toFailure(thrown));
      await mongodb.refuse(client, toFailure(thrown));
    }
  };
  const { listener, port } = await listen(
    (raw) => {
      came++;
      return serve(kept(raw));
    },
    (thrown) => void door.failures.push(toFailure(thrown)),
  );
  listeners.push(listener);
  door.port = port;
  return door;
};

export const linesOf = (door: Door): readonly Readonly<Record<string, unknown>>[] =>
  door.sessions.flatMap((one) => one.lines());
