// The registry: one line a protocol.
import type { ProtocolName } from "@sallyport/core/database";
import { mongodb } from "./mongodb/mongodb.ts";
import { mysql } from "./mysql/mysql.ts";
import { postgres } from "./postgres/postgres.ts";
import type { Protocol } from "./protocol.ts";
import { redis } from "./redis/redis.ts";

export const protocols = { postgres, mysql, mongodb, redis } as const satisfies Record<ProtocolName, Protocol>;
