// MongoDB as a Protocol: DocumentDB, and what speaks as it does.
// https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
import { protocols } from "@sallyport/core/database";
import type { Protocol } from "../protocol.ts";
import { cancel, login, type MongodbServer, run } from "./client.ts";
import { relay } from "./relay.ts";
import { accept, type MongodbClient, refuse, type Wanted, welcome } from "./server.ts";

export const mongodb = {
  name: "mongodb",
  port: protocols.mongodb.port,
  accept,
  refuse,
  login,
  welcome,
  relay,
  cancel,
  run,
} as const satisfies Protocol<MongodbClient, MongodbServer, Wanted, "mongodb">;
