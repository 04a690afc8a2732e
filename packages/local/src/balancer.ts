// The network load balancer's place: TCP passed through to the proxies there are, one after the other, nothing read or changed.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/introduction.html
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Balancer {
  readonly port: number;
  /** Where new connections go from now on, in turn. */
  target(ports: readonly number[]): void;
  close(): Promise<void>;
}

const host = "127.0.0.1";

const pass = (client: Socket, port: number): void => {
  const target = connect({ host, port, allowHalfOpen: true });
  for (const socket of [client, target]) socket.setNoDelay(true);
  client.on("error", () => target.destroy());
  target.on("error", () => client.resetAndDestroy());
  client.on("close", () => target.destroy());
  target.on("close", () => client.destroySoon());
  client.pipe(target);
  target.pipe(client);
};

/** One listener. With no target a connection is reset, as the real one does with no healthy target. */
export const openBalancer = async (port = 0): Promise<Balancer> => {
  let ports: readonly number[] = [];
  let turn = 0;
  const live = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    live.add(client);
    client.on("close", () => live.delete(client));
    const to = ports[turn++ % Math.max(1, ports.length)];
    if (to === undefined) client.on("error", () => {}).resetAndDestroy();
    else pass(client, to);
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : port,
    target: (next) => {
      ports = next;
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of live) socket.destroy();
      await closed;
    },
  };
};
