// A session: one authorised connection through a proxy. The proxy writes it; the sweeper closes those whose proxy is gone.
import * as z from "zod";
import { Seal } from "./seal.ts";

export const Session = z.object({
  id: z.string(),
  proxy: z.string(),
  user: z.string(),
  database: z.string(),
  protocol: z.string(),
  dbUser: z.string(),
  dbName: z.string().optional(),
  /** The connect token's id. */
  token: z.string(),
  way: z.enum(["plain", "gate"]),
  client: z.string(),
  state: z.enum(["live", "ended", "lost"]),
  startedAt: z.number(),
  endedAt: z.number().optional(),
  reason: z.string().optional(),
  /** It holds one of its user's counted connections (limit#): whoever closes it gives that back. */
  counted: z.boolean().optional(),
  /** How far its audit records are known to go: the last one's number, and the hash they all went into. */
  seq: z.number().optional(),
  head: z.string().optional(),
  /** The last of these that was signed; it may speak of fewer records than `seq` does. */
  sealed: Seal.optional(),
});
export type Session = z.infer<typeof Session>;

/** A proxy task: alive while its heartbeat changes. */
export const ProxyTask = z.object({
  id: z.string(),
  /** Where its peers reach it with cancel requests. */
  address: z.string(),
  peerPort: z.number(),
  network: z.string(),
  version: z.string(),
  /** Counts up with each deployment, where that is known. */
  revision: z.number().optional(),
  startedAt: z.number(),
  /** By its own clock, which may be wrong: what counts is that it changes. 0 says that it has left. */
  heartbeatAt: z.number(),
  /** The sweeper's mark, when it first saw this heartbeat; the next heartbeat puts the item without it. */
  seenAt: z.number().optional(),
  draining: z.boolean(),
  sessions: z.number(),
});
export type ProxyTask = z.infer<typeof ProxyTask>;

export const heartbeatEvery = 5_000;
/** Without a new heartbeat for so long a proxy is gone and its sessions are lost. */
export const heartbeatGrace = 30_000;
/** How far the clock of a proxy may be from that of whoever can only look once. */
const clockTolerance = 5 * 60_000;

/** It left, or the heartbeat that is there was there too long ago. Tells nothing of one that was never marked. */
export const isGone = ({ heartbeatAt, seenAt }: ProxyTask, now: number): boolean =>
  heartbeatAt === 0 || (seenAt !== undefined && now - seenAt >= heartbeatGrace);

/** As well as it can be told by one look. Until the sweeper has seen to it, one that was killed may still count. */
export const isAlive = (task: ProxyTask, now: number): boolean =>
  !isGone(task, now) && Math.abs(now - task.heartbeatAt) < clockTolerance + heartbeatGrace;
