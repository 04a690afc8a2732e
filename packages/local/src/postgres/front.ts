// What stands before a private PostgreSQL in place of RDS: TLS only, IAM tokens for those who must use them, limits and
// deadlines, and faults on demand.
import type { Socket } from "node:net";
import { type Failure, type FailureCode, toFailure } from "@sallyport/core/failure";
import { type FrontOptions, type Front as FrontWith, openFront } from "../front.ts";
import { receive } from "./admission.ts";
import { arrive } from "./arrival.ts";
import type { Fault } from "./fault.ts";
import { fatal } from "./startup.ts";

export type Front = FrontWith<Fault>;

// What is not in here ends without a word: the stream may be in the middle of a TLS handshake.
const sqlstates: Partial<Record<FailureCode, string>> = {
  protocol: "08P01",
  unsupported: "0A000",
  not_logged_in: "28000",
  bad_token: "28P01",
  unavailable: "57P03",
};

const refuse = (raw: Socket, stream: Socket, { code, message }: Failure): void => {
  const sqlstate = sqlstates[code];
  if (sqlstate === undefined) raw.destroy();
  else stream.write(fatal(sqlstate, message), () => stream.destroySoon());
};

export const startFront = (options: FrontOptions): Promise<Front> =>
  openFront<Fault>(options, async (raw, context, settled) => {
    let stream = raw;
    try {
      const client = await arrive(raw, context);
      if (!client) return;
      stream = client;
      await receive(raw, client, context, settled);
    } catch (thrown) {
      refuse(raw, stream, toFailure(thrown));
    }
  });
