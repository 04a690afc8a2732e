// What the probe is handed and what it answers. It stands inside the network and may do nothing at AWS: everything it needs is
// in its event. With a password it logs in for real; without one it goes no further than verified TLS.
import * as z from "zod";
import { Endpoint, protocolNames } from "./database.ts";
import { failureCodes } from "./failure.ts";
import { Region, WireName } from "./name.ts";

const Place = {
  protocol: z.enum(protocolNames),
  endpoint: Endpoint.strict(),
  partition: z.string().regex(/^aws[a-z-]*$/),
  region: Region,
  /** For its words alone. */
  database: z.string().min(1).max(255),
  vpcId: z.string().max(64).optional(),
};

export const Probing = z.union([
  z.strictObject(Place),
  z.strictObject({
    ...Place,
    user: WireName,
    password: z.string().min(1).max(16_384),
    /** How the server may ask for it: an IAM token only in clear inside TLS, a real password never so. */
    methods: z.enum(["clear", "challenge"]),
    name: WireName.optional(),
  }),
]);
export type Probing = z.input<typeof Probing>;

export const ProbedNode = z.object({
  /** The address; the name where it led to none. */
  address: z.string(),
  port: z.number(),
  /** `ok`: logged in or, without a password, reached by verified TLS. `refused`: it said no to the login. */
  result: z.enum(["ok", "refused", "unreachable"]),
  /** TLS came about, and its certificate is the right one. */
  tls: z.boolean(),
  /** Why it is not ok, and what to do. */
  code: z.enum(failureCodes).optional(),
  reason: z.string().optional(),
  hint: z.string().optional(),
});
export type ProbedNode = z.infer<typeof ProbedNode>;

/** One entry per address that the name leads to. */
export const Probed = z.object({ nodes: z.array(ProbedNode).min(1) });
export type Probed = z.infer<typeof Probed>;
