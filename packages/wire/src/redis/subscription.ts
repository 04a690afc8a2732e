// Who listens to what on which node. Channels and patterns are heard on one node, as a cluster carries them to all; a shard's channels
// on the node that owns their slot. A client counts its shard channels over all nodes, so the count in a confirmation is ours.
// https://redis.io/docs/latest/develop/pubsub/
import { newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Handler } from "./cluster.ts";
import { bytesOf, elementsOf, number, numberOf } from "./element.ts";
import { command } from "./message.ts";
import { slotOf } from "./slot.ts";
import { bytesAt } from "./word.ts";

export interface Subscriptions {
  readonly handlers: ReadonlyMap<string, Handler>;
  /** A node confirms, or takes back unasked; what the client is told. */
  confirmed(branch: Branch, word: string, bytes: Buffer, asked: boolean): Buffer | undefined;
  /** In RESP2 a connection that listens takes nothing else: the one that says so. */
  listening(): Branch | undefined;
  /** It is heard no more. True when somebody listened there. */
  lost(branch: Branch): boolean;
  clear(): void;
}

export const openSubscriptions = (cluster: Cluster): Subscriptions => {
  /** By the word that subscribes, what is listened to, as far as it was asked for. */
  const asked = { subscribe: new Set<string>(), psubscribe: new Set<string>() };
  const shards = new Map<string, Branch>();
  /** Shard channels that are confirmed. */
  const heard = new Set<string>();

  const names = (words: { count: number }, at: (index: number) => Buffer): readonly string[] =>
    Array.from({ length: words.count - 1 }, (_, index) => at(index + 1).toString("latin1"));

  const subscribe =
    (word: "subscribe" | "psubscribe"): Handler =>
    ({ words, bytes, from, to }) => {
      const channels = names(words, (at) => bytesAt(words, at));
      for (const channel of channels) asked[word].add(channel);
      cluster.send(cluster.home(), newAsk(bytes, from, to, -1, { replies: channels.length, confirms: word }));
      return "taken";
    };
  const unsubscribe =
    (word: "subscribe" | "psubscribe", un: string): Handler =>
    ({ words, bytes, from, to }) => {
      const channels = words.count > 1 ? names(words, (at) => bytesAt(words, at)) : [...asked[word]];
      const replies = Math.max(1, channels.length);
      for (const channel of channels) asked[word].delete(channel);
      cluster.send(cluster.home(), newAsk(bytes, from, to, -1, { replies, confirms: un }));
      return "taken";
    };

  const ssubscribe: Handler = ({ words, bytes, from, to }) => {
    const slot = slotOf(words.bytes, words.starts[1] ?? 0, words.ends[1] ?? 0);
    const branch = cluster.owner(slot) ?? cluster.home();
    const channels = names(words, (at) => bytesAt(words, at));
    for (const channel of channels) shards.set(channel, branch);
    const sent = (to: Branch["peer"]): void => {
      const now = cluster.open().find(({ peer }) => peer === to);
      if (now) for (const channel of channels) shards.set(channel, now);
    };
    cluster.send(branch, newAsk(bytes, from, to, slot, { replies: channels.length, confirms: "ssubscribe", sent }));
    return "taken";
  };
  const sunsubscribe: Handler = ({ words, bytes, from, to }) => {
    const confirms = "sunsubscribe";
    if (words.count > 1) {
      const slot = slotOf(words.bytes, words.starts[1] ?? 0, words.ends[1] ?? 0);
      const channels = names(words, (at) => bytesAt(words, at));
      const branch = shards.get(channels[0] ?? "") ?? cluster.owner(slot) ?? cluster.home();
      for (const channel of channels) shards.delete(channel);
      cluster.send(branch, newAsk(bytes, from, to, slot, { replies: channels.length, confirms }));
      return "taken";
    }
    const counts = new Map<Branch, number>();
    for (const branch of shards.values()) counts.set(branch, (counts.get(branch) ?? 0) + 1);
    if (counts.size === 0) counts.set(cluster.home(), 1);
    shards.clear();
    for (const [branch, replies] of counts) cluster.send(branch, newAsk(bytes, from, to, -1, { replies, confirms }));
    return "taken";
  };

  /** Its slot went elsewhere: it is listened to there, and the client is told nothing. */
  const followSlot = (channel: string): void => {
    const bytes = Buffer.from(channel, "latin1");
    const slot = slotOf(bytes, 0, bytes.length);
    const branch = cluster.owner(slot);
    if (!branch) return;
    shards.set(channel, branch);
    const sent = (to: Branch["peer"]): void => {
      const now = cluster.open().find(({ peer }) => peer === to);
      if (now && shards.has(channel)) shards.set(channel, now);
    };
    const again = command("SSUBSCRIBE", bytes);
    cluster.send(branch, newAsk(again, 0, again.length, slot, { due: false, confirms: "ssubscribe", sent }));
  };

  return {
    handlers: new Map<string, Handler>([
      ["subscribe", subscribe("subscribe")],
      ["psubscribe", subscribe("psubscribe")],
      ["unsubscribe", unsubscribe("subscribe", "unsubscribe")],
      ["punsubscribe", unsubscribe("psubscribe", "punsubscribe")],
      ["ssubscribe", ssubscribe],
      ["sunsubscribe", sunsubscribe],
    ]),
    confirmed: (branch, word, bytes, wanted) => {
      const [said, channel, count] = elementsOf(bytes);
      if (!said || !channel || !count) return bytes;
      const kind = word.includes("ssub") || word.startsWith("sunsub") ? "shards" : "channels";
      branch.subscribed[kind] = numberOf(count);
      if (kind === "channels") return bytes;
      const name = bytesOf(channel)?.toString("latin1");
      if (name === undefined) return bytes;
      if (!wanted && word === "sunsubscribe" && shards.has(name)) {
        followSlot(name);
        return undefined;
      }
      if (word === "ssubscribe") heard.add(name);
      else heard.delete(name);
      const mark = bytes[0] === 0x3e ? ">" : "*";
      return Buffer.concat([Buffer.from(`${mark}3\r\n`), said, channel, number(heard.size)]);
    },
    listening: () => {
      if (asked.subscribe.size + asked.psubscribe.size > 0) return cluster.home();
      const [branch] = shards.values();
      return branch;
    },
    lost: (branch) => branch.subscribed.channels + branch.subscribed.shards > 0,
    clear: () => {
      asked.subscribe.clear();
      asked.psubscribe.clear();
      shards.clear();
      heard.clear();
    },
  };
};
