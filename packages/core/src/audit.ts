// The audit trail. Two streams: events of the control plane and of sessions (in the table, and of a session in its file),
// and statements (in the sink). Names here are the catalogue in docs/operations.md.
import * as z from "zod";
import { keys, toItem } from "./family.ts";
import type { Line } from "./line.ts";
import type { Change, Random, Store } from "./ports.ts";

export const eventNames = [
  "bootstrap.invite",
  "user.invite",
  "user.change",
  "user.remove",
  "user.password",
  "role.change",
  "role.remove",
  "lock.create",
  "lock.remove",
  "database.change",
  "database.remove",
  "database.enable",
  "discovery_config.change",
  "discovery_config.remove",
  "login.success",
  "login.failure",
  "logout",
  "token.issue",
  "token.deny",
  "token.revoke",
  "session.start",
  "session.deny",
  "session.end",
  "session.lost",
  "session.cancel",
  "trust.change",
  "rotation.ask",
  "rotation.begin",
  "rotation.success",
  "rotation.failure",
  "rotation.repair",
  "rotation.end",
] as const;
export type EventName = (typeof eventNames)[number];

export const AuditEvent = z.object({
  name: z.enum(eventNames),
  at: z.number(),
  /** The user, or the AWS identity for bootstrap, or the function that acted by itself. */
  actor: z.string(),
  /** Facts of the event; never a secret. */
  details: z.record(z.string(), z.unknown()),
});
export type AuditEvent = z.infer<typeof AuditEvent>;

/** How long the table keeps an event; the sink keeps what must last. */
const keepEventsFor = 90 * 86_400_000;

/** The write that appends an event; put it in the same transaction as what it tells of. */
export const eventChange = (event: AuditEvent, random: Random): Change => {
  const noise = [...random.bytes(8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const day = new Date(event.at).toISOString().slice(0, 10);
  const key = keys.event(day, Number.parseInt(noise.slice(0, 1), 16), `${String(event.at).padStart(15, "0")}#${noise}`);
  return {
    put: toItem(key, event, event.at + keepEventsFor),
    if: { absent: true },
  };
};

export const appendEvent = async (store: Store, event: AuditEvent, random: Random): Promise<void> => {
  await store.write(eventChange(event, random));
};

/** What a protocol hands to the audit as bytes pass, and only for as long as the call lasts. `part` counts a long statement's pieces from 0; the last one has `last`. */
export interface Statement {
  /** About how many bytes its line will have. */
  readonly size: number;
  readonly part?: number;
  readonly last?: boolean;
  /** Words it, before `record` returns. */
  say(line: Line): void;
}

/** Statements are recorded in parts of at most this many bytes. */
export const partSize = 65_536;
