// A protocol of lines, the smallest that has everything the one login must drive, and a database that speaks it.
// client: [STARTTLS] LOGIN user name token | CANCEL key | PROBE; then lines that the database answers with themselves.
import { createServer, type Server as NetServer, type Socket as NetSocket } from "node:net";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import type { Arrival, Client, End, Live, OwnKeys, Protocol, Server, Socket, Upstream } from "@sallyport/wire/protocol";

interface LinesServer extends Server {
  readonly id: string;
}

/** One line, without what follows it. */
const readLine = (socket: Socket): Promise<string> =>
  new Promise((resolve, reject) => {
    let have = Buffer.alloc(0);
    const stop = (): void => {
      socket.off("readable", read);
      socket.off("close", gone);
      socket.off("end", gone);
    };
    const gone = (): void => {
      stop();
      reject(new Failure("protocol", "the connection ended"));
    };
    const read = (): void => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
        have = Buffer.concat([have, chunk]);
        const end = have.indexOf("\n");
        if (end < 0 && have.length > 16_384) {
          stop();
          reject(new Failure("protocol", "a line is too long"));
          return;
        }
        if (end < 0) continue;
        stop();
        if (have.length > end + 1) socket.unshift(have.subarray(end + 1));
        resolve(have.subarray(0, end).toString());
        return;
      }
    };
    socket.on("readable", read);
    socket.once("close", gone);
    socket.once("end", gone);
    if (socket.destroyed || socket.readableEnded) gone();
    else read();
  });

const firstByte = (socket: Socket): Promise<number> =>
  new Promise((resolve, reject) => {
    const read = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) {
        socket.once("readable", read);
        return;
      }
      socket.unshift(chunk);
      resolve(chunk[0] ?? 0);
    };
    socket.once("close", () => reject(new Failure("protocol", "the connection ended")));
    read();
  });

export const lines: Protocol<Client, LinesServer, string> = {
  name: "postgres",
  port: 5432,
  async accept(socket, gate): Promise<Arrival<Client, string>> {
    let inner = socket;
    if (!gate.arrived) {
      if ((await firstByte(socket)) === 0x16) inner = await gate.secure(socket, "lines");
      else {
        const asked = await readLine(socket);
        if (asked !== "STARTTLS") {
          socket.end("ERR tls_required\n");
          throw new Failure("tls_required", "TLS is required");
        }
        socket.write("GO\n");
        inner = await gate.secure(socket);
      }
    }
    const [verb, user = "", name = "", token = ""] = (await readLine(inner)).split(" ");
    const client = { socket: inner };
    if (verb === "PROBE") {
      inner.end();
      return { probe: true };
    }
    if (verb === "CANCEL") return { cancel: { protocol: "postgres", key: user }, client };
    if (verb !== "LOGIN") {
      inner.end("ERR protocol\n");
      throw new Failure("protocol", "not a line of ours");
    }
    return { ask: { user, name, ...(gate.arrived ? {} : { token: secret(token) }) }, client, wanted: name };
  },
  async refuse(client, failure) {
    client.socket.end(`ERR ${failure.code} ${failure.message}\n`);
  },
  async login(upstream, grant, wanted) {
    const { socket, peer } = await upstream.tcp();
    socket.on("error", () => {});
    const credential = await upstream.credential();
    socket.write(`HELLO ${credential.user} ${grant.dbName} ${wanted}\n`);
    const [verdict, id = ""] = (await readLine(socket)).split(" ");
    if (verdict === "OK") return { socket, peer, id };
    socket.destroy();
    throw new Failure("upstream_refused", "the database refused the login");
  },
  async welcome(client, _server, own: OwnKeys) {
    const key = own.random(8).toString("hex");
    own.register(key);
    client.socket.write(`WELCOME ${key}\n`);
  },
  relay: (client, server, live: Live) =>
    new Promise<End>((resolve) => {
      let end: End | undefined;
      const finish = (how: End): void => {
        if (end) return;
        end = how;
        client.socket.end();
        server.socket.destroy();
        client.socket.once("close", () => resolve(how));
        if (client.socket.destroyed) resolve(how);
      };
      const cut = (): void => {
        const failure: Failure = live.ended.reason;
        client.socket.write(`CUT ${failure.code} ${failure.message}\n`);
        finish({ by: "cut", failure });
      };
      const forward = async (chunk: Buffer): Promise<void> => {
        live.touch();
        const text = chunk.toString().trimEnd();
        const denied = text.startsWith("use ") ? live.guard({ name: text.slice(4) }) : undefined;
        if (denied) {
          client.socket.write("ERR denied\n");
          return;
        }
        await live.record({ size: chunk.length, say: (line) => line.members({ text }) });
        server.socket.write(chunk);
      };
      client.socket.on("data", (chunk: Buffer) => void forward(chunk).catch(() => {}));
      client.socket.on("close", () => finish({ by: "client" }));
      client.socket.on("error", () => {});
      server.socket.on("data", (chunk: Buffer) => client.socket.write(chunk));
      server.socket.on("close", () => finish({ by: "server" }));
      live.ended.addEventListener("abort", cut, { once: true });
      if (live.ended.aborted) cut();
    }),
  async cancel(server, upstream: Upstream) {
    const { socket } = await upstream.tcp(server.peer);
    socket.on("error", () => {});
    socket.resume();
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.write(`CANCEL ${server.id}\n`);
    await closed;
  },
  async run() {
    return [];
  },
};

export interface LinesDatabase {
  readonly port: number;
  /** Logins seen: the words after HELLO. */
  readonly logins: readonly string[];
  /** The sessions that somebody asked to cancel. */
  readonly cancels: readonly string[];
  live(): number;
  /** Connections that are open, logged in or not. */
  connections(): number;
  /** From now on: answer logins, refuse them, or say nothing. */
  behave(how: "answer" | "refuse" | "hang"): void;
  close(): Promise<void>;
}

export const openLinesDatabase = async (): Promise<LinesDatabase> => {
  const logins: string[] = [];
  const cancels: string[] = [];
  const sessions = new Map<string, NetSocket>();
  const sockets = new Set<NetSocket>();
  let how: "answer" | "refuse" | "hang" = "answer";
  const serve = async (socket: NetSocket): Promise<void> => {
    const line = await readLine(socket);
    if (line.startsWith("CANCEL ")) {
      cancels.push(line.slice(7));
      sessions.get(line.slice(7))?.write("CANCELLED\n");
      socket.destroy();
      return;
    }
    logins.push(line.slice(6));
    if (how === "hang") return;
    if (how === "refuse") {
      socket.end("NO\n");
      return;
    }
    const id = String(logins.length);
    sessions.set(id, socket);
    socket.once("close", () => sessions.delete(id));
    socket.write(`OK ${id}\n`);
    socket.on("data", (chunk) => socket.write(chunk));
  };
  const server: NetServer = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    serve(socket).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    logins,
    cancels,
    live: () => sessions.size,
    connections: () => sockets.size,
    behave: (next) => {
      how = next;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
};
