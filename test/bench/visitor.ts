// A client that only arrives: from TCP connect to ReadyForQuery, and then stays or goes. For how long that takes and what a
// connection that does nothing costs.
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { compose, take } from "@sallyport/wire/bytes";
import { SSLRequest } from "@sallyport/wire/postgres/message";
import { account, type Bench } from "./server.ts";
import type { Way } from "./way.ts";

export interface Visitor {
  /** From the first packet to ReadyForQuery. */
  readonly ms: number;
  leave(): Promise<void>;
}

export const openVisitors = (bench: Bench): ((way: Way) => Promise<Visitor>) => {
  const secureContext = createSecureContext({ ca: bench.ca });
  return (way) => visit(way, secureContext);
};

const secure = async (way: Way, secureContext: SecureContext): Promise<TLSSocket> => {
  const { host, port } = way;
  const tcp = connectTcp({ host, port, noDelay: true });
  await once(tcp, "connect");
  if (way.asksForTls) {
    tcp.write(SSLRequest);
    if ((await take(tcp, 1)).toString() !== "S") throw new Error(`${way.name} has no TLS`);
  }
  const socket = connectTls({ socket: tcp, servername: "localhost", secureContext, ALPNProtocols: ["postgresql"] });
  await once(socket, "secureConnect");
  return socket;
};

const visit = async (way: Way, secureContext: SecureContext): Promise<Visitor> => {
  const startedAt = performance.now();
  const socket = await secure(way, secureContext);
  const startup = compose().i32(196_608).cstring("user").cstring(account.user).cstring("database");
  socket.write(startup.cstring(account.database).u8(0).end());
  for (;;) {
    const head = await take(socket, 5);
    const body = await take(socket, head.readInt32BE(1) - 4);
    const type = String.fromCharCode(head[0] ?? 0);
    if (type === "E") throw new Error(`${way.name}: ${body.toString()}`);
    if (type === "R" && body.readInt32BE() === 3) socket.write(compose("p").cstring(way.password).end());
    if (type === "Z") break;
  }
  const ms = performance.now() - startedAt;
  socket.on("error", () => {});
  return {
    ms,
    leave: async () => {
      const closed = once(socket, "close");
      socket.end(compose("X").end());
      socket.resume();
      await closed;
    },
  };
};
