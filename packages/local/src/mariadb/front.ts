// What stands before a private MariaDB in place of RDS: TLS only, IAM tokens for those who must use them, limits and deadlines,
// and faults on demand.
import { type FrontOptions, type Front as FrontWith, openFront } from "../front.ts";
import { receive } from "./admission.ts";
import type { Fault } from "./fault.ts";
import type { Signer } from "./signer.ts";

export type Front = FrontWith<Fault>;

/** `signer` is the server's. */
export const startFront = ({ signer, ...options }: FrontOptions & { readonly signer: Signer }): Promise<Front> =>
  openFront<Fault>(options, (raw, context, settled) => receive(raw, { ...context, signer }, settled));
