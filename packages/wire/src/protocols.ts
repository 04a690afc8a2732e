// The registry: one line a protocol.
import type { ProtocolName } from "@sallyport/core/database";
import { mysql } from "./mysql/mysql.ts";
import { postgres } from "./postgres/postgres.ts";
import type { Protocol } from "./protocol.ts";

export const protocols = { postgres, mysql } as const satisfies Record<ProtocolName, Protocol>;
