// MySQL as a Protocol: RDS and Aurora MySQL, RDS MariaDB, and what speaks as they do.
// https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
import { protocols } from "@sallyport/core/database";
import type { Protocol } from "../protocol.ts";
import { cancel, login, type MysqlServer } from "./client.ts";
import { relay } from "./relay.ts";
import { run } from "./run.ts";
import { accept, type MysqlClient, refuse, type Wanted, welcome } from "./server.ts";

export const mysql = {
  name: "mysql",
  port: protocols.mysql.port,
  accept,
  refuse,
  login,
  welcome,
  relay,
  cancel,
  run,
} as const satisfies Protocol<MysqlClient, MysqlServer, Wanted, "mysql">;
