// How far sessions' records go, told where the records are not: in the table, signed. At a session's end and every ten minutes
// while it lives, so that whoever takes records away afterwards, or a task that dies with them, is found out.
import { Failure } from "@sallyport/core/failure";
import { keys } from "@sallyport/core/family";
import type { AuditSink, Clock, Head, Store } from "@sallyport/core/ports";
import type { Seal, SessionHead } from "@sallyport/core/seal";
import { within } from "./deadline.ts";
import { describeError, type Log } from "./log.ts";
import type { Notary } from "./notary.ts";

export interface Heads {
  /** The head with its signature, if the key is there to give one; else that is owed. Never rejects. */
  signed(session: string, head: Head): Promise<Head & { readonly sealed?: Seal }>;
  /** Tells how far the live sessions are when it is time, and what is owed. Never rejects. */
  tick(): Promise<void>;
}

const every = 600_000;
const patience = 3_000;
/** A sink that is down is waited for so long before heads are told. */
const sinkPatience = 30_000;
const atOnce = 20;
const mostOwed = 10_000;

export const openHeads = (parts: {
  readonly proxy: string;
  readonly store: Store;
  readonly sink: AuditSink;
  readonly steady: Clock;
  readonly log: Log;
  /** Absent: heads are told without a signature. */
  readonly notary: Notary | undefined;
  /** The ids of the sessions that live. */
  live(): readonly string[];
}): Heads => {
  const { proxy, store, sink, steady, log, notary } = parts;
  let toldAt = steady.now();
  /** Up to where was last told, by session. */
  let told = new Map<string, number>();
  const owed: SessionHead[] = [];
  let busy = false;

  const sealOf = (head: SessionHead): Promise<Seal> | undefined =>
    notary && within(patience, "signing how far records go", notary.seal(head));

  const tell = async (head: SessionHead): Promise<void> => {
    const { session, seq } = head;
    const sealed = await sealOf(head);
    const set = { seq, head: head.head, ...(sealed && { sealed }) };
    await within(
      patience,
      "writing to the table",
      store.write({ update: keys.session(proxy, session), set, if: { equals: { state: "live" } } }),
    );
    told.set(session, seq);
  };
  /** All of them; one that fails is told the next time. */
  const each = async (heads: readonly SessionHead[], work: (head: SessionHead) => Promise<void>): Promise<void> => {
    for (let at = 0; at < heads.length; at += atOnce) {
      const done = await Promise.allSettled(heads.slice(at, at + atOnce).map(work));
      const failed = done.find((one) => one.status === "rejected");
      if (failed) log.warn("how far records go can't be told", describeError(failed.reason));
    }
  };

  const tellLive = async (): Promise<void> => {
    const live = parts.live();
    told = new Map([...told].filter(([session]) => live.includes(session)));
    const heads = live.flatMap((session) => {
      const head = sink.head(session);
      return head && head.seq !== told.get(session) ? [{ session, ...head }] : [];
    });
    if (heads.length === 0) return;
    // what the table says is there is there
    await within(sinkPatience, "making the audit durable", sink.settled());
    await each(heads, tell);
  };
  const pay = async (head: SessionHead): Promise<void> => {
    try {
      const sealed = await sealOf(head);
      await store.write({ update: keys.session(proxy, head.session), set: { sealed }, if: { present: true } });
    } catch (thrown) {
      // a session that never came to be in the table is owed nothing
      if (thrown instanceof Failure && thrown.code === "conflict") return;
      if (owed.length < mostOwed) owed.push(head);
      throw thrown;
    }
  };
  /** Until one can't be paid: thousands are not tried at a key that is away, while the living wait. */
  const payOwed = async (): Promise<void> => {
    for (let left = owed.length; left > 0; left -= atOnce) {
      const before = owed.length;
      const due = owed.splice(0, atOnce);
      await each(due, pay);
      if (owed.length > before - due.length) return;
    }
  };

  return {
    signed: async (session, head) => {
      try {
        const sealed = await sealOf({ session, ...head });
        return { ...head, ...(sealed && { sealed }) };
      } catch (thrown) {
        log.warn("how far records go can't be signed yet", { session, ...describeError(thrown) });
        if (owed.length < mostOwed) owed.push({ session, ...head });
        return head;
      }
    },
    tick: async () => {
      if (busy) return;
      busy = true;
      try {
        if (owed.length > 0) await payOwed();
        if (steady.now() - toldAt >= every) {
          toldAt = steady.now();
          await tellLive();
        }
      } catch (thrown) {
        log.warn("how far records go can't be told", describeError(thrown));
      } finally {
        busy = false;
      }
    },
  };
};
