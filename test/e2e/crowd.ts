// Many clients at once, as from many addresses, and what a process weighs meanwhile.
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";
import { sslRequest } from "../local/postgres-bytes.ts";
import { type Door, type Ending, logInOver, type Session, within } from "./attack.ts";

const contexts = new Map<string, SecureContext>();
const contextOf = (ca: string): SecureContext => {
  const known = contexts.get(ca) ?? createSecureContext({ ca });
  contexts.set(ca, known);
  return known;
};

/** One of 40 loopback addresses: a cap per address is not what is to be met. */
const addressOf = (at: number): string => `127.0.200.${1 + (at % 40)}`;

const opened = new Set<Socket>();
/** Resets whatever is still open. */
export const endAll = (): void => {
  for (const socket of opened) socket.destroy();
  opened.clear();
};

/** A login from its own address; its end in words, or why there were none. Never rejects, and never hangs longer than `ms`. */
export const arriveAs = async (at: number, door: Door, ms = 60_000): Promise<Session | Ending> => {
  const raw = connect({ host: "127.0.0.1", port: door.port, localAddress: addressOf(at), noDelay: true });
  opened.add(raw);
  raw.once("close", () => opened.delete(raw));
  const timer = setTimeout(() => raw.destroy(new Error("it hung")), ms);
  let failed = "";
  raw.on("error", (thrown) => {
    failed ||= thrown.message;
  });
  try {
    await once(raw, "connect");
    raw.write(sslRequest);
    const [answer] = (await once(raw, "data")) as [Buffer];
    if (answer.toString() !== "S") throw new Error(`answered ${answer.toString("hex")}`);
    const socket = connectTls({ socket: raw, servername: "localhost", secureContext: contextOf(door.ca) });
    await once(socket, "secureConnect");
    socket.on("error", () => {});
    const how = await logInOver(socket, door);
    return "code" in how && how.code === "closed" ? { ...how, message: failed } : how;
  } catch (thrown) {
    raw.destroy();
    return { code: "closed", message: failed || String(thrown), hint: "" };
  } finally {
    clearTimeout(timer);
  }
};

/** `count` of them, at most `side` at a time. */
export const gather = async (
  count: number,
  side: number,
  one: (at: number) => Promise<Session | Ending>,
): Promise<(Session | Ending)[]> => {
  const all: (Session | Ending)[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) all.push(await one(at));
  };
  await Promise.all(Array.from({ length: side }, work));
  return all;
};
export const isSession = (one: Session | Ending): one is Session => !("code" in one);

/** Resident bytes, and open descriptors. */
export const weigh = (pid: number): { rss: number; descriptors: number } => ({
  rss: Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024,
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
});

export interface Stayed {
  readonly count: number;
  /** Let in, and still answered at the end. */
  readonly served: number;
  readonly answered: number;
  readonly bytesEach: number;
  readonly descriptorsEach: number;
  /** Descriptors before they came. */
  readonly before: number;
}
/** So many come, do nothing, are weighed, asked once, and leave. */
export const stay = async (
  door: Door,
  pid: number,
  count: number,
  leave: (sessions: readonly Session[]) => Promise<void>,
): Promise<Stayed> => {
  // what code and caches weigh is there already
  await leave((await gather(50, 10, (at) => arriveAs(at, door))).filter(isSession));
  const before = weigh(pid);
  const sessions = (await gather(count, 16, (at) => arriveAs(at, door))).filter(isSession);
  const held = weigh(pid);
  const asked = await within(60_000, "answers", Promise.all(sessions.map((session) => session.query("still here"))));
  await leave(sessions);
  return {
    count,
    served: sessions.length,
    answered: asked.filter(([one]) => one === "1").length,
    bytesEach: (held.rss - before.rss) / count,
    descriptorsEach: (held.descriptors - before.descriptors) / count,
    before: before.descriptors,
  };
};
export const tell = ({ count, served, answered, bytesEach, descriptorsEach }: Stayed): string =>
  `${count} sessions that only stay: ${served} let in, ${answered} answered at the end, ${Math.round(bytesEach / 1024)} KB resident and ${descriptorsEach.toFixed(2)} descriptors each`;
