// The tunnel: a loopback port whose every connection goes through the gate. It knows no protocols: after the gate's word it carries
// bytes both ways, with backpressure and half-closes. A connection the gate refuses is closed and the reason reported.
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure, type FailureCode, toFailure } from "@sallyport/core/failure";
import type { Target } from "./connection.ts";
import { enterGate } from "./gate.ts";
import type { Keeper } from "./pass.ts";

const loopback = "127.0.0.1";
const keepAliveMs = 30_000;
/** What a program that has ended may still have on its way. */
export const farewellMs = 2000;

export interface Tunnel {
  readonly host: string;
  readonly port: number;
  /** Stops listening, waits so long for connections to end by themselves, then ends them. */
  close(patienceMs?: number): Promise<void>;
}

/** Worth one more try with a fresh token and address. */
const again: ReadonlySet<FailureCode> = new Set(["bad_token", "draining", "starting", "unavailable"]);

const enter = async (keeper: Keeper, as: string, closing: AbortSignal): Promise<TLSSocket> => {
  const pass = await keeper.pass();
  try {
    return await enterGate(pass, as, closing);
  } catch (thrown) {
    if (!again.has(toFailure(thrown).code)) throw thrown;
    keeper.drop(pass);
    return enterGate(await keeper.pass(), as, closing);
  }
};

/** Both ways until both are done; what breaks on one side ends the other. Resolves when both are closed. */
const relay = (client: Socket, gate: TLSSocket): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    if (client.closed && gate.closed) resolve();
  };
  for (const [from, to] of [
    [client, gate],
    [gate, client],
  ] as const)
    from
      .on("error", () => to.destroy())
      .on("close", () => {
        // it broke off, or nobody is left there to hear the rest
        if (!from.readableEnded || !to.readableEnded) to.destroy();
        done();
      })
      .pipe(to);
  return promise;
};

const listen = (server: Server, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE" || cause.code === "EACCES";
      reject(
        new Failure(taken ? "conflict" : "unavailable", `port ${port} can't be used (${cause.code})`, {
          hint: "is a tunnel to it open already? choose another port with --port",
          cause,
        }),
      );
    });
    server.listen({ host: loopback, port }, () => resolve((server.address() as AddressInfo).port));
  });

/** Opens the port (0: any free one). `report` hears why a connection was refused. @throws Failure `conflict` when the port is taken */
export const openTunnel = async (keeper: Keeper, port: number, report: (failure: Failure) => void): Promise<Tunnel> => {
  const live = new Map<Socket, Promise<void>>();
  const closing = new AbortController();
  const carry = async (client: Socket, as: string): Promise<void> => {
    // until there is somewhere for its bytes to go they stay with the kernel; a client that leaves meanwhile is gone
    client.on("error", () => client.destroy());
    try {
      const gate = await enter(keeper, as, closing.signal);
      gate.setNoDelay(true).setKeepAlive(true, keepAliveMs);
      if (client.destroyed) gate.destroy();
      else await relay(client, gate);
    } catch (thrown) {
      client.destroy();
      if (!closing.signal.aborted) report(toFailure(thrown));
    }
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
    const work = carry(client, `${loopback}:${client.localPort}`).finally(() => live.delete(client));
    live.set(client, work);
  });
  const bound = await listen(server, port);
  return {
    host: loopback,
    port: bound,
    close: async (patienceMs = 0) => {
      server.close();
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, patienceMs);
      });
      await Promise.race([Promise.all(live.values()), patience]);
      clearTimeout(timer);
      closing.abort();
      for (const client of live.keys()) client.destroy();
    },
  };
};

/** How a client program on this machine reaches the database through it. */
export const tunnelTarget = ({ answer }: Keeper, { host, port }: Tunnel): Target => ({
  protocol: answer.protocol,
  host,
  port,
  user: answer.user,
  name: answer.name,
});
