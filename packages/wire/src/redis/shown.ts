// A cluster as clients see it: one node that owns every slot, at the address that they dialled. What they would learn of the real
// nodes they could not reach.
// https://redis.io/docs/latest/commands/cluster-shards/
import { createHash } from "node:crypto";
import { array, bulk, number } from "./element.ts";
import type { Version, Ways } from "./lane.ts";
import { slotCount } from "./slot.ts";

const last = slotCount - 1;

/** Forty hexadecimal digits, the same ones for the same address. */
const idOf = (what: string): string => createHash("sha256").update(what).digest("hex").slice(0, 40);

const text = (words: string, version: Version): Buffer =>
  version === 2 ? bulk(words) : Buffer.from(`=${Buffer.byteLength(words) + 4}\r\ntxt:${words}\r\n`);
/** In RESP2 a map is an array of its keys and values. */
const map = (entries: readonly (readonly [string, Buffer])[], version: Version): Buffer => {
  const all = entries.flatMap(([key, value]) => [bulk(key), value]);
  return version === 2 ? array(all) : Buffer.concat([Buffer.from(`%${entries.length}\r\n`), ...all]);
};

export interface Shown {
  slots(version: Version): Buffer;
  shards(version: Version): Buffer;
  nodes(version: Version): Buffer;
  info(version: Version, complete: boolean): Buffer;
  id(): Buffer;
  shardId(): Buffer;
  isOurs(id: string): boolean;
}

export const openShown = ({ host, port }: Ways["shown"]): Shown => {
  const [id, shard] = [idOf(`node ${host}:${port}`), idOf(`shard ${host}:${port}`)];
  return {
    slots: (version) =>
      array([array([number(0), number(last), array([bulk(host), number(port), bulk(id), map([], version)])])]),
    shards: (version) => {
      const node = map(
        [
          ...([
            ["id", bulk(id)],
            ["port", number(port)],
            ["tls-port", number(port)],
            ["ip", bulk(host)],
          ] as const),
          ...([
            ["endpoint", bulk(host)],
            ["role", bulk("master")],
            ["replication-offset", number(0)],
          ] as const),
          ...([["health", bulk("online")]] as const),
        ],
        version,
      );
      const entries = [
        ["slots", array([number(0), number(last)])],
        ["nodes", array([node])],
      ] as const;
      return array([map(entries, version)]);
    },
    nodes: (version) => text(`${id} ${host}:${port}@${port} myself,master - 0 0 1 connected 0-${last}\n`, version),
    info: (version, complete) => {
      const slots = complete ? slotCount : 0;
      const lines = [
        ...[
          `cluster_state:${complete ? "ok" : "fail"}`,
          `cluster_slots_assigned:${slotCount}`,
          `cluster_slots_ok:${slots}`,
        ],
        ...[
          "cluster_slots_pfail:0",
          `cluster_slots_fail:${slotCount - slots}`,
          "cluster_known_nodes:1",
          "cluster_size:1",
        ],
        ...["cluster_current_epoch:1", "cluster_my_epoch:1"],
        ...[
          "cluster_stats_messages_sent:0",
          "cluster_stats_messages_received:0",
          "total_cluster_links_buffer_limit_exceeded:0",
        ],
      ];
      return text(`${lines.join("\r\n")}\r\n`, version);
    },
    id: () => bulk(id),
    shardId: () => bulk(shard),
    isOurs: (other) => other === id,
  };
};
