// The same loopback port each time for the same database, so that what a graphical client has saved keeps working. The first
// time it follows from the names; a port that another database has, or that is taken, is stepped over; then it is kept.
import { createHash } from "node:crypto";
import { type Failure, toFailure } from "@sallyport/core/failure";
import * as z from "zod";
import type { Context } from "./context.ts";
import { openDrawer } from "./folder.ts";
import type { Keeper } from "./pass.ts";
import { openTunnel, type Tunnel } from "./tunnel.ts";

const Allocation = z.object({ server: z.string(), database: z.string(), port: z.number().int().min(1).max(65535) });
type Allocation = z.infer<typeof Allocation>;

// below the ranges from which systems take ports for outgoing connections
const first = 20_000;
const count = 10_000;
const attempts = 20;

/** Ports to try, in order. */
export const candidatePorts = (server: string, database: string, taken: ReadonlySet<number>): readonly number[] => {
  const start = createHash("sha256").update(`${server}\0${database}`).digest().readUInt32BE(0) % count;
  return Array.from({ length: count }, (_, step) => first + ((start + step) % count))
    .filter((port) => !taken.has(port))
    .slice(0, attempts);
};

/** A tunnel on the database's own port. @throws Failure `conflict` when that port is in use */
export const openTunnelOnOwnPort = async (
  context: Context,
  server: string,
  keeper: Keeper,
  report: (failure: Failure) => void,
): Promise<Tunnel> => {
  const drawer = openDrawer<Allocation>(context.configDir, "ports", Allocation, (allocation) => allocation);
  const { database } = keeper.answer;
  const key = `${server}\0${database}`;
  const known = drawer.get(key);
  if (known) return openTunnel(keeper, known.port, report);
  const taken = new Set(drawer.list().map(({ port }) => port));
  let last: unknown;
  for (const port of candidatePorts(server, database, taken)) {
    try {
      const tunnel = await openTunnel(keeper, port, report);
      drawer.put(key, { server, database, port });
      return tunnel;
    } catch (thrown) {
      if (toFailure(thrown).code !== "conflict") throw thrown;
      last = thrown;
    }
  }
  throw last;
};
