// How proxies of one deployment ask each other to cancel: one frame over TCP, u16 length, HMAC-SHA-256 by the deployment's
// key, then JSON {name, at, nonce}. Good for a minute and once. The answer is that the connection ends, found or not.
import { createHmac, timingSafeEqual } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { fromItem, walk } from "@sallyport/core/family";
import type { Clock, Random, Store } from "@sallyport/core/ports";
import type { Secret } from "@sallyport/core/secret";
import { isAlive, ProxyTask } from "@sallyport/core/session";
import * as z from "zod";
import { openPlaces } from "./allowance.ts";
import { within } from "./deadline.ts";
import { readFrame } from "./frame.ts";

export const peerWindow = 60_000;
const maxFrame = 1024;
const macSize = 32;
/** Nonces remembered; more within the window than that are refused. */
const maxNonces = 100_000;
const frameWithin = 5_000;
const answerWithin = 12_000;
const peersFor = 10_000;

const Request = z.strictObject({ name: z.string().max(100), at: z.number(), nonce: z.string().min(16).max(64) });

const sign = (key: Secret, body: Buffer): Buffer =>
  createHmac("sha256", key.reveal()).update("peer\0").update(body).digest();

export const encodeRequest = (key: Secret, request: z.infer<typeof Request>): Buffer => {
  const body = Buffer.from(JSON.stringify(request));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(macSize + body.length);
  return Buffer.concat([length, sign(key, body), body]);
};

/** The name in a frame, or undefined for one that is not ours, too old, from the future or seen before. */
export const openRequests = (key: Secret, clock: Clock): ((frame: Buffer) => string | undefined) => {
  const seen = new Map<string, number>();
  const forget = (now: number): void => {
    for (const [nonce, at] of seen) {
      if (Math.abs(now - at) <= 2 * peerWindow) return;
      seen.delete(nonce);
    }
  };
  return (frame) => {
    const mac = frame.subarray(0, macSize);
    const body = frame.subarray(macSize);
    if (mac.length !== macSize || !timingSafeEqual(mac, sign(key, body))) return undefined;
    const parsed = Request.safeParse(JSON.parse(body.toString()));
    const now = clock.now();
    if (!parsed.success || Math.abs(now - parsed.data.at) > peerWindow) return undefined;
    forget(now);
    if (seen.has(parsed.data.nonce) || seen.size >= maxNonces) return undefined;
    seen.set(parsed.data.nonce, now);
    return parsed.data.name;
  };
};

/** The peers' port. */
export const openPeerPort = (parts: {
  secret: Secret;
  clock: Clock;
  carryOut(name: string): Promise<boolean>;
}): Server => {
  const places = openPlaces({ total: 200, each: 100 });
  const verify = openRequests(parts.secret, parts.clock);
  const serve = async (socket: Socket): Promise<void> => {
    try {
      const frame = await within(frameWithin, "the peer's frame", readFrame(socket, maxFrame));
      const name = verify(frame);
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

/** Asks every live peer of the same network; whoever does not answer in time is left. */
export const openPeers = (parts: {
  self: string;
  network: string;
  secret: Secret;
  store: Store;
  clock: Clock;
  steady: Clock;
  random: Random;
}): Peers => {
  let cached: { at: number; peers: Promise<readonly ProxyTask[]> } | undefined;
  const readPeers = async (): Promise<readonly ProxyTask[]> => {
    const peers: ProxyTask[] = [];
    for await (const item of walk(parts.store, "proxy#"))
      try {
        peers.push(fromItem(ProxyTask, item));
      } catch {
        // of a version that this one can't read: not a peer
      }
    return peers.filter((peer) => peer.id !== parts.self && peer.network === parts.network);
  };
  const peersNow = async (): Promise<readonly ProxyTask[]> => {
    if (!cached || parts.steady.now() - cached.at >= peersFor) {
      const peers = within(2_000, "reading the peers", readPeers());
      cached = { at: parts.steady.now(), peers };
      peers.catch(() => {
        cached = undefined;
      });
    }
    return (await cached.peers).filter((peer) => isAlive(peer, parts.clock.now()));
  };
  const askOne = (peer: ProxyTask, name: string): Promise<void> =>
    new Promise((resolve) => {
      const nonce = Buffer.from(parts.random.bytes(16)).toString("hex");
      const socket = connect({ host: peer.address, port: peer.peerPort, noDelay: true });
      const timer = setTimeout(() => socket.destroy(), answerWithin);
      const connecting = setTimeout(() => socket.connecting && socket.destroy(), 2_000);
      socket.once("connect", () => socket.write(encodeRequest(parts.secret, { name, at: parts.clock.now(), nonce })));
      socket.on("error", () => {});
      socket.resume();
      socket.once("close", () => {
        clearTimeout(timer);
        clearTimeout(connecting);
        resolve();
      });
    });
  return {
    ask: async (name) => {
      await Promise.all((await peersNow()).map((peer) => askOne(peer, name)));
    },
  };
};
