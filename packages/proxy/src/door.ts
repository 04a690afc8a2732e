// The doors: the gate, a plain port for each protocol, and the inner ones, for peers and for the balancer's question.
import type { Server } from "node:net";
import { Failure } from "@sallyport/core/failure";
import type { Clock, Random } from "@sallyport/core/ports";
import type { Secret } from "@sallyport/core/secret";
import type { Cancels } from "./cancel.ts";
import { openHealth } from "./health.ts";
import { listen, openPort, type Waiting } from "./listen.ts";
import type { Log } from "./log.ts";
import type { AnyProtocol, Login, Visit } from "./login.ts";
import { openPeerPort } from "./peer.ts";
import type { Roster } from "./roster.ts";

export interface DoorParts {
  readonly host: string;
  /** By protocol; 0 is any free port. */
  readonly plainPorts: Readonly<Record<string, number>>;
  readonly gatePort: number;
  readonly healthPort: number;
  readonly peerPort: number;
  readonly protocols: Readonly<Record<string, AnyProtocol>>;
  readonly cancelSecret: Secret;
  readonly random: Random;
  readonly steady: Clock;
  readonly log: Log;
}
/** Who serves them. */
export interface Inside {
  gate(visit: Visit): Promise<void>;
  readonly login: Login;
  readonly cancels: Cancels;
  /** What the balancer is told. */
  state(): "serving" | "draining" | "audit_full";
}
export interface Doors {
  /** By protocol, and `gate`, `health`, `peer`. */
  readonly numbers: Readonly<Record<string, number>>;
  /** Nobody new from outside. Resolves when the last connection is gone; peers and the balancer are still answered. */
  shut(): Promise<unknown>;
  /** What is still open, without waiting. */
  close(): void;
}

const isInner = (name: string): boolean => name === "health" || name === "peer";
const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
  });

/** Listens on every port. @throws the system's error, with none of them left open */
export const openDoors = async (parts: DoorParts, inside: Inside, roster: Roster, places: Waiting): Promise<Doors> => {
  const { random, cancelSecret: secret } = parts;
  const { gate, login, cancels, state } = inside;
  const wanted: [name: string, port: number, server: Server][] = [
    ["gate", parts.gatePort, openPort("gate", places, parts, (visit) => roster.track(visit, gate(visit)))],
    ["peer", parts.peerPort, openPeerPort({ secret, random, carryOut: cancels.carryOut })],
    ["health", parts.healthPort, openHealth(state)],
  ];
  for (const [name, port] of Object.entries(parts.plainPorts)) {
    const protocol = parts.protocols[name];
    if (!protocol) throw new Failure("invalid", `there is no protocol ${name}`);
    const serve = (visit: Visit) => roster.track(visit, login.serve(protocol, visit, visit.socket));
    wanted.push([name, port, openPort("plain", places, parts, serve)]);
  }
  const numbers: Record<string, number> = {};
  try {
    for (const [name, port, server] of wanted) numbers[name] = await listen(server, port, parts.host);
  } catch (thrown) {
    for (const [, , server] of wanted) server.close();
    throw thrown;
  }
  return {
    numbers,
    shut: () => Promise.all(wanted.flatMap(([name, , server]) => (isInner(name) ? [] : [close(server)]))),
    close: () => {
      for (const [, , server] of wanted) if (server.listening) server.close();
    },
  };
};
