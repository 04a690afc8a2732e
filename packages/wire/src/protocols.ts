// The registry: one line a protocol.
import type { ProtocolName } from "@sallyport/core/database";
import { postgres } from "./postgres/postgres.ts";
import type { Protocol } from "./protocol.ts";

export const protocols = { postgres } as const satisfies Record<ProtocolName, Protocol>;
