// Who listens to what on which node. Channels and patterns are heard on one node, as a cluster carries them to all; a shard's channels
// on the node that owns their slot. A client counts its shard channels over all nodes, so the count in a confirmation is ours.
// https://redis.io/docs/latest/develop/pubsub/
import { type Ask, newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Handler } from "./cluster.ts";
import { bytesOf, elementsOf, number, numberOf } from "./element.ts";
import { command, errorLine } from "./message.ts";
import { isRedirect } from "./recovery.ts";
import { slotOf } from "./slot.ts";
import { bytesAt } from "./word.ts";

export interface Subscriptions {
  readonly handlers: ReadonlyMap<string, Handler>;
  /** A node confirms, or takes back unasked; what the client is told. */
  confirmed(branch: Branch, word: string, bytes: Buffer, ask: Ask | undefined): Buffer | undefined;
  /** In RESP2 a connection that listens takes nothing else: the one that says so. */
  listening(): Branch | undefined;
  /** It is heard no more. True when somebody listened there. */
  lost(branch: Branch): boolean;
  clear(): void;
}

/** A session's names in a cluster, of channels and patterns, with those of shards: how many, and how many bytes. */
const mostChannels = 65_536;
const mostChannelBytes = 8 * 1_048_576;
const tooMany = errorLine(
  `ERR too many channels: a session on a cluster may listen to ${mostChannels}, with names of ${mostChannelBytes / 1_048_576} MiB in all`,
);

export const openSubscriptions = (cluster: Cluster): Subscriptions => {
  /** By the word that subscribes, what is listened to, as far as it was asked for. */
  const asked = { subscribe: new Set<string>(), psubscribe: new Set<string>() };
  const shards = new Map<string, Branch>();
  let size = 0; // of all names
  /** Names that are not listened to yet, each once; undefined where there is no room for them. */
  const freshOf = (
    channels: readonly string[],
    among: { has(channel: string): boolean },
  ): readonly string[] | undefined => {
    const fresh = [...new Set(channels)].filter((channel) => !among.has(channel));
    const count = asked.subscribe.size + asked.psubscribe.size + shards.size + fresh.length;
    const bytes = fresh.reduce((sum, { length }) => sum + length, size);
    if (fresh.length > 0 && (count > mostChannels || bytes > mostChannelBytes)) return undefined;
    size = bytes;
    return fresh;
  };
  const forget = (among: { delete(channel: string): boolean }, channel: string): void => {
    if (among.delete(channel)) size -= channel.length;
  };
  const refuse = (): "taken" => {
    cluster.answer(tooMany);
    return "taken";
  };
  /** How many shard channels there are with each confirmation: counted as they were asked for, whichever node is first. */
  const counts = new WeakMap<Ask, number[]>();

  const names = (words: { count: number }, at: (index: number) => Buffer): readonly string[] =>
    Array.from({ length: words.count - 1 }, (_, index) => at(index + 1).toString("latin1"));

  const subscribe =
    (word: "subscribe" | "psubscribe"): Handler =>
    ({ words, bytes, from, to }) => {
      const channels = names(words, (at) => bytesAt(words, at));
      const fresh = freshOf(channels, asked[word]);
      if (!fresh) return refuse();
      for (const channel of channels) asked[word].add(channel);
      const failed = (): undefined => {
        for (const channel of fresh) forget(asked[word], channel);
      };
      cluster.send(cluster.home(), newAsk(bytes, from, to, -1, { replies: channels.length, confirms: word, failed }));
      return "taken";
    };
  const unsubscribe =
    (word: "subscribe" | "psubscribe", un: string): Handler =>
    ({ words, bytes, from, to }) => {
      // how many there are is known when nothing can be refused any more
      if (words.count === 1 && cluster.order.asks.size() > 0) return "wait";
      const channels = words.count > 1 ? names(words, (at) => bytesAt(words, at)) : [...asked[word]];
      const replies = Math.max(1, channels.length);
      for (const channel of channels) forget(asked[word], channel);
      cluster.send(cluster.home(), newAsk(bytes, from, to, -1, { replies, confirms: un }));
      return "taken";
    };

  const ssubscribe: Handler = ({ words, bytes, from, to }) => {
    const slot = slotOf(words.bytes, words.starts[1] ?? 0, words.ends[1] ?? 0);
    const branch = cluster.owner(slot) ?? cluster.home();
    const channels = names(words, (at) => bytesAt(words, at));
    const fresh = freshOf(channels, shards);
    if (!fresh) return refuse();
    const counted = channels.map((channel) => shards.set(channel, branch).size);
    const sent = (to: Branch["peer"]): void => {
      const now = cluster.open().find(({ peer }) => peer === to);
      if (now) for (const channel of channels) if (shards.has(channel)) shards.set(channel, now);
    };
    const failed = (line: string): undefined => {
      if (!isRedirect(line)) for (const channel of fresh) forget(shards, channel);
    };
    const more = { replies: channels.length, confirms: "ssubscribe", sent, failed };
    const ask = newAsk(bytes, from, to, slot, more);
    counts.set(ask, counted);
    cluster.send(branch, ask);
    return "taken";
  };
  const sunsubscribe: Handler = ({ words, bytes, from, to }) => {
    const confirms = "sunsubscribe";
    if (words.count > 1) {
      const slot = slotOf(words.bytes, words.starts[1] ?? 0, words.ends[1] ?? 0);
      const channels = names(words, (at) => bytesAt(words, at));
      const branch = shards.get(channels[0] ?? "") ?? cluster.owner(slot) ?? cluster.home();
      const counted = channels.map((channel) => {
        forget(shards, channel);
        return shards.size;
      });
      const ask = newAsk(bytes, from, to, slot, { replies: channels.length, confirms });
      counts.set(ask, counted);
      cluster.send(branch, ask);
      return "taken";
    }
    const byNode = new Map<Branch, number>();
    for (const branch of shards.values()) byNode.set(branch, (byNode.get(branch) ?? 0) + 1);
    let left = shards.size;
    if (left === 0) byNode.set(cluster.home(), 1);
    for (const channel of shards.keys()) forget(shards, channel);
    for (const [branch, replies] of byNode) {
      const ask = newAsk(bytes, from, to, -1, { replies, confirms });
      counts.set(
        ask,
        Array.from({ length: replies }, () => Math.max(0, --left)),
      );
      cluster.send(branch, ask);
    }
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
    confirmed: (branch, word, bytes, ask) => {
      const [said, channel, count] = elementsOf(bytes);
      if (!said || !channel || !count) return bytes;
      const kind = word.includes("ssub") || word.startsWith("sunsub") ? "shards" : "channels";
      branch.subscribed[kind] = numberOf(count);
      if (kind === "channels") return bytes;
      const name = bytesOf(channel)?.toString("latin1") ?? "";
      if (!ask) {
        if (word === "sunsubscribe" && shards.has(name)) followSlot(name);
        return undefined;
      }
      const mark = bytes[0] === 0x3e ? ">" : "*";
      return Buffer.concat([
        Buffer.from(`${mark}3\r\n`),
        said,
        channel,
        number(counts.get(ask)?.shift() ?? shards.size),
      ]);
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
      size = 0;
    },
  };
};
