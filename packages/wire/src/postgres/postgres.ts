// PostgreSQL as a Protocol: RDS and Aurora PostgreSQL, and what speaks as they do.
// https://www.postgresql.org/docs/18/protocol.html
import { protocols } from "@sallyport/core/database";
import type { Protocol } from "../protocol.ts";
import { cancel, login, type PostgresServer, run } from "./client.ts";
import { relay } from "./relay.ts";
import { accept, type PostgresClient, refuse, type Wanted, welcome } from "./server.ts";

export const postgres = {
  name: "postgres",
  port: protocols.postgres.port,
  accept,
  refuse,
  login,
  welcome,
  relay,
  cancel,
  run,
} as const satisfies Protocol<PostgresClient, PostgresServer, Wanted, "postgres">;
