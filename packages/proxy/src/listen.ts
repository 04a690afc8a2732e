// Listening: a plain port for each protocol and the gate. A connection is handed on at once, so that no handshake holds up
// the next; those that have not logged in are counted, per address and in all, and beyond the caps simply closed.
import { createServer, type Server, type Socket } from "node:net";
import { countedAddress } from "@sallyport/core/address";
import type { Clock } from "@sallyport/core/ports";
import type { Places } from "./allowance.ts";
import { describeError, type Log } from "./log.ts";
import type { Visit } from "./login.ts";

const keepAliveAfter = 60_000;

/** Where connections without a login count: on their way to one, or there to stay. */
export interface Waiting {
  readonly waiting: Places;
  readonly lingering: Places;
}

const visitOf = (socket: Socket, way: Visit["way"], places: Waiting, steady: Clock): Visit | undefined => {
  // gone before it was looked at
  if (socket.remoteAddress === undefined) return undefined;
  const address = countedAddress(socket.remoteAddress);
  let leave = places.waiting.enter(address);
  if (!leave) return undefined;
  let lingers = false;
  const authenticated = (): void => leave?.();
  const linger = (): boolean => {
    if (lingers) return true;
    const place = places.lingering.enter(address);
    if (!place) return false;
    leave?.();
    leave = place;
    // closed while nobody looked: there will be no other "close"
    if (socket.destroyed) place();
    lingers = true;
    return true;
  };
  socket.once("close", authenticated);
  const client = `${socket.remoteAddress.replace(/^::ffff:(?=\d+\.)/i, "")}:${socket.remotePort ?? 0}`;
  return { socket, way, address, client, arrivedAt: steady.now(), authenticated, linger };
};

/** A server that serves every connection by itself; not listening yet. */
export const openPort = (
  way: Visit["way"],
  places: Waiting,
  parts: { readonly log: Log; readonly steady: Clock },
  serve: (visit: Visit) => Promise<void>,
): Server =>
  createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveAfter }, (socket) => {
    // an error is followed by "close", which is what everybody listens for
    socket.on("error", () => {});
    const visit = visitOf(socket, way, places, parts.steady);
    if (!visit) return void socket.resetAndDestroy();
    serve(visit).catch((thrown: unknown) => {
      parts.log.error("a connection failed on our side", describeError(thrown));
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
