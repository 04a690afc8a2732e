// A type-only sketch of the protocol that is not built yet: what it must carry through the seam, checked by the compiler and
// never run. If it needs a change to packages/wire/src/protocol.ts, the seam is wrong.
import { Failure } from "@sallyport/core/failure";
import type { Client, OwnKeys, Protocol, Server, Socket, Upstream } from "@sallyport/wire/protocol";

declare function readLogin(socket: Socket): Promise<{ user: string; token: string }>;
declare function secretOf(text: string): import("@sallyport/core/secret").Secret;

/** Redis: a cluster is many upstream connections behind one client, dialled and logged in as keys name them. */
interface RedisServer extends Server {
  readonly upstream: Upstream;
  readonly nodes: Map<string, Socket>;
}
export const redis = {
  name: "redis",
  port: 6379,
  async accept(socket, gate) {
    const secured = gate.arrived ? socket : await gate.secure(socket);
    const { user, token } = await readLogin(secured);
    return { ask: { user, token: secretOf(token) }, client: { socket: secured }, wanted: { resp: 3 } };
  },
  async refuse(client, failure) {
    client.socket.end(`-ERR ${failure.message}\r\n`);
  },
  async login(upstream) {
    const { socket, peer } = await upstream.tcp();
    return { socket: await upstream.secure(socket), peer, upstream, nodes: new Map() };
  },
  async welcome(_client, _server, _own: OwnKeys) {},
  async relay(_client, server, live) {
    const moved = await server.upstream.tcp({ address: "10.0.0.9", port: 6379 });
    server.nodes.set(moved.peer.address, await server.upstream.secure(moved.socket));
    const credential = await server.upstream.credential(); // again before the 12-hour limit
    const denied = live.guard({ user: credential.user }) ?? live.guard({ use: "script" });
    return denied ? { by: "cut", failure: new Failure("denied", "not this user") } : { by: "server" };
  },
  async cancel() {},
  async run() {
    return [];
  },
} satisfies Protocol<Client, RedisServer, { resp: 2 | 3 }, "redis">;
