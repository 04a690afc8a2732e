// A network: a set of proxies that reach some databases, and where people reach those proxies. Part of the deployment's
// settings (an environment variable of the API), never of the table: a captured proxy must not be able to redirect anyone.
import * as z from "zod";
import { type ProtocolName, protocolNames } from "./database.ts";

export const Network = z.object({
  /** `pins` and `ca` are those of a certificate of one's own; without pins the proxies show the one that certify issues. */
  gate: z.object({
    host: z.string(),
    port: z.number(),
    pins: z.array(z.string()).min(1).optional(),
    ca: z.string().optional(),
  }),
  /** The plain ports, one per protocol; absent where only the tunnel is offered. */
  direct: z
    .object({
      host: z.string(),
      ports: z.partialRecord(z.enum(protocolNames), z.number()) satisfies z.ZodType<
        Partial<Record<ProtocolName, number>>
      >,
      ca: z.string().optional(),
    })
    .optional(),
});
export type Network = z.infer<typeof Network>;

/** By name; `default` is the one a database belongs to when nothing else says so. */
export const Networks = z.record(z.string(), Network);
export type Networks = z.infer<typeof Networks>;
export const defaultNetwork = "default";
