// Listening: a plain port for each protocol and the gate. A connection is handed on at once, so that no handshake holds up
// the next; those that have not logged in are counted, per address and in all, and beyond the caps simply closed.
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import type { Places } from "./allowance.ts";
import { describeError, type Log } from "./log.ts";
import type { Visit } from "./login.ts";

const keepAliveAfter = 60_000;

/** What limits count by: an IPv4 address, or the /64 that an IPv6 client can choose its own addresses in. */
export const countedAddress = (remote: string): string => {
  const plain = remote.replace(/^::ffff:(?=\d+\.)/i, "");
  if (!isIPv6(plain)) return plain;
  const [front = "", back] = plain.split("%")[0]?.split("::") ?? [];
  const left = front === "" ? [] : front.split(":");
  const right = back === undefined || back === "" ? [] : back.split(":");
  const zeros = back === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill("0");
  return [...left, ...zeros, ...right].slice(0, 4).join(":");
};

const visitOf = (socket: Socket, way: Visit["way"], places: Places): Visit | undefined => {
  // gone before it was looked at
  if (socket.remoteAddress === undefined) return undefined;
  const address = countedAddress(socket.remoteAddress);
  const leave = places.enter(address);
  if (!leave) return undefined;
  socket.once("close", leave);
  const client = `${socket.remoteAddress.replace(/^::ffff:(?=\d+\.)/i, "")}:${socket.remotePort ?? 0}`;
  return { socket, way, address, client, authenticated: leave };
};

/** A server that serves every connection by itself; not listening yet. */
export const openPort = (way: Visit["way"], places: Places, log: Log, serve: (visit: Visit) => Promise<void>): Server =>
  createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveAfter }, (socket) => {
    // an error is followed by "close", which is what everybody listens for
    socket.on("error", () => {});
    const visit = visitOf(socket, way, places);
    if (!visit) return void socket.resetAndDestroy();
    serve(visit).catch((thrown: unknown) => {
      log.error("a connection failed on our side", describeError(thrown));
      socket.destroy();
    });
  });

/** Resolves with the port's number once it listens. @throws the system's error */
export const listen = (server: Server, port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, backlog: 511 }, () => {
      server.off("error", reject);
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : port);
    });
  });
