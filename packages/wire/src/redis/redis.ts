// Redis as a Protocol: ElastiCache and MemoryDB, and what speaks as they do.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import { protocols } from "@sallyport/core/database";
import type { Protocol } from "../protocol.ts";
import { cancel, login, nodes, type RedisServer, run } from "./client.ts";
import { relay } from "./relay.ts";
import { accept, type RedisClient, refuse, type Wanted, welcome } from "./server.ts";

export const redis = {
  name: "redis",
  port: protocols.redis.port,
  accept,
  refuse,
  login,
  welcome,
  relay,
  cancel,
  nodes,
  run,
} as const satisfies Protocol<RedisClient, RedisServer, Wanted, "redis">;
