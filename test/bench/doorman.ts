// A protocol that is nothing but a login: a line with a token, and "in" once a session has begun. There is no TLS and no database
// behind it, so what is measured through it is redeeming: reads, decision, spend, session, events, audit, and giving it all back.
import { once } from "node:events";
import { Duplex } from "node:stream";
import { secret } from "@sallyport/core/secret";
import type { AnyProtocol } from "@sallyport/proxy/login";
import { quiet, take } from "@sallyport/wire/bytes";
import { account } from "./server.ts";

/** As long as every connect token is. */
export const tokenLength = 49;
const nowhere = (): Duplex => new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });

export const doorman: AnyProtocol = {
  name: "postgres",
  port: 0,
  accept: async (socket) => {
    const token = (await take(quiet(socket), tokenLength)).toString();
    const ask = { user: account.user, name: account.database, token: secret(token) };
    return { ask, client: { socket }, wanted: undefined };
  },
  refuse: async ({ socket }, { code }) => void socket.end(code),
  login: async () => ({ socket: nowhere(), peer: { address: "127.0.0.1", port: 0 } }),
  welcome: async ({ socket }) => void socket.write("in"),
  relay: async (client, server) => {
    const closed = once(client.socket, "close");
    client.socket.end();
    client.socket.resume();
    await closed;
    server.socket.destroy();
    return { by: "client" };
  },
  cancel: async () => {},
  run: async () => [],
};
