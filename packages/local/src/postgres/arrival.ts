// From a TCP connection to TLS, or to a cancel: by SSLRequest, or by TLS directly (PostgreSQL 17). Nothing in plain text
// but those requests and CancelRequest gets further, and no plain byte is ever taken for one inside TLS.
// https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure } from "@sallyport/core/failure";
import { secureFront, stall } from "../front.ts";
import { take } from "../stream.ts";
import type { Context } from "./context.ts";
import { cancelRequest, gssRequest, parseStartup, sslRequest, takeStartup } from "./startup.ts";

const tlsRecord = 0x16;

const secure = async (raw: Socket, direct: boolean, context: Context): Promise<TLSSocket> => {
  const fault = context.fault();
  const client = await secureFront(raw, fault?.is === "impostor" ? fault.identity : context.identity, "postgresql");
  // Node refuses a wrong ALPN by itself, but not a missing one
  if (direct && client.alpnProtocol !== "postgresql") throw new Failure("ended", "direct TLS without ALPN");
  return client;
};

/** Passes a CancelRequest on; the client waits for the end of the stream. */
export const cancel = (client: Socket, packet: Buffer, { upstream, tally }: Context): void => {
  tally.cancels++;
  const server = connect({ path: upstream });
  server.on("error", () => server.destroy());
  server.on("close", () => client.destroySoon());
  server.end(packet).resume();
};

/** Answers a GSSENCRequest once and an SSLRequest once. */
const negotiate = async (raw: Socket, context: Context): Promise<TLSSocket | undefined> => {
  for (let gssRefused = false; ; gssRefused = true) {
    const packet = await takeStartup(raw);
    const code = packet.readInt32BE(4);
    const fault = context.fault();
    if (fault?.is === "garbage" && fault.at === "negotiation") return void stall(raw, fault.bytes);
    if (code === cancelRequest) return void cancel(raw, packet, context);
    if (code !== sslRequest && (code !== gssRequest || gssRefused)) {
      const { user, database } = parseStartup(packet);
      const who = `host "${raw.remoteAddress}", user "${user}", database "${database}"`;
      throw new Failure("not_logged_in", `no pg_hba.conf entry for ${who}, no encryption`);
    }
    if (packet.length !== 8 || raw.readableLength > 0)
      throw new Failure("protocol", "received unencrypted data after encryption request");
    if (code === gssRequest) {
      raw.write("N");
      continue;
    }
    if (fault?.is === "plaintext") return void stall(raw, Buffer.from("N"));
    if (fault?.is === "smuggling") return void stall(raw, Buffer.concat([Buffer.from("S"), fault.bytes]));
    raw.write("S");
    return secure(raw, false, context);
  }
};

/** The client inside TLS; undefined when there is nothing more to hear from it. */
export const arrive = async (raw: Socket, context: Context): Promise<TLSSocket | undefined> => {
  const first = await take(raw, 1);
  raw.unshift(first);
  return first[0] === tlsRecord ? secure(raw, true, context) : negotiate(raw, context);
};
