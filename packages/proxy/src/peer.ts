// How proxies of one deployment ask each other to cancel. Over TCP, in frames (frame.ts): the one that is asked says a number that
// it uses once, the one that asks answers with HMAC-SHA-256 by the deployment's key over it and JSON {name}, then that JSON. So no
// frame is good twice, and no clock has a say. The answer is that the connection ends, found or not.
import { createHmac, timingSafeEqual } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock, Random } from "@sallyport/core/ports";
import type { Secret } from "@sallyport/core/secret";
import type { ProxyTask } from "@sallyport/core/session";
import * as z from "zod";
import { openPlaces } from "./allowance.ts";
import { within } from "./deadline.ts";
import { readFrame, sendFrame } from "./frame.ts";
import type { Neighbours } from "./neighbours.ts";

const maxFrame = 1024;
const onceSize = 32;
const macSize = 32;
const frameWithin = 5_000;
const answerWithin = 12_000;
const peersFor = 10_000;

const Request = z.strictObject({ name: z.string().max(100) });

const sign = (key: Secret, once: Uint8Array, body: Buffer): Buffer =>
  createHmac("sha256", key.reveal()).update("peer\0").update(once).update(body).digest();

export const encodeRequest = (key: Secret, once: Uint8Array, name: string): Buffer => {
  const body = Buffer.from(JSON.stringify({ name }));
  return Buffer.concat([sign(key, once, body), body]);
};

/** The name in a frame, or undefined for one that is not ours or was made for another number. */
export const readRequest = (key: Secret, once: Uint8Array, frame: Buffer): string | undefined => {
  const mac = frame.subarray(0, macSize);
  const body = frame.subarray(macSize);
  if (mac.length !== macSize || !timingSafeEqual(mac, sign(key, once, body))) return undefined;
  return Request.safeParse(JSON.parse(body.toString())).data?.name;
};

/** The peers' port. */
export const openPeerPort = (parts: {
  secret: Secret;
  random: Random;
  carryOut(name: string): Promise<boolean>;
}): Server => {
  const places = openPlaces({ total: 200, each: 100 });
  const serve = async (socket: Socket): Promise<void> => {
    try {
      const once = parts.random.bytes(onceSize);
      sendFrame(socket, once);
      const frame = await within(frameWithin, "the peer's frame", readFrame(socket, maxFrame));
      const name = readRequest(parts.secret, once, frame);
      if (name !== undefined) await parts.carryOut(name);
    } catch {
      // whatever came is not ours: closed without a word
    } finally {
      socket.destroy();
    }
  };
  return createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    const leave = places.enter(socket.remoteAddress ?? "");
    if (!leave) return void socket.destroy();
    socket.once("close", leave);
    void serve(socket);
  });
};

export interface Peers {
  ask(name: string): Promise<void>;
}

/** Asks every peer of the same network that is not known to be silent; whoever does not answer in time is left. */
export const openPeers = (parts: { secret: Secret; neighbours: Neighbours; steady: Clock }): Peers => {
  let cached: { at: number; peers: Promise<readonly ProxyTask[]> } | undefined;
  const readPeers = async (): Promise<readonly ProxyTask[]> => (await parts.neighbours.look()).map(({ task }) => task);
  const peersNow = async (): Promise<readonly ProxyTask[]> => {
    if (!cached || parts.steady.now() - cached.at >= peersFor) {
      const peers = within(2_000, "reading the peers", readPeers());
      cached = { at: parts.steady.now(), peers };
      peers.catch(() => {
        cached = undefined;
      });
    }
    return cached.peers;
  };
  const tell = async (socket: Socket, name: string): Promise<void> => {
    const once = await readFrame(socket, onceSize);
    // less would be no number that was made for this one time
    if (once.length !== onceSize) return void socket.destroy();
    sendFrame(socket, encodeRequest(parts.secret, once, name));
    socket.resume();
  };
  const askOne = (peer: ProxyTask, name: string): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host: peer.address, port: peer.peerPort, noDelay: true });
      const timer = setTimeout(() => socket.destroy(), answerWithin);
      const connecting = setTimeout(() => socket.connecting && socket.destroy(), 2_000);
      socket.on("error", () => {});
      socket.once("close", () => {
        clearTimeout(timer);
        clearTimeout(connecting);
        resolve();
      });
      tell(socket, name).catch(() => socket.destroy());
    });
  return {
    ask: async (name) => {
      await Promise.all((await peersNow()).map((peer) => askOne(peer, name)));
    },
  };
};
