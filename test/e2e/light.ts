// A database server that is all protocol: TLS, an IAM token checked as RDS checks it, then whatever is asked is answered with one
// row, with what was said (`echo`), with as much as the question wants (`flood`), or not before it is let go (`stall`). For crowds that a real PostgreSQL, with a process for each, would not bear on two
// cores. It stands where RDS stands; nothing of ours is replaced.
import { createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { secret } from "@sallyport/core/secret";
import type { Server } from "@sallyport/local/databases";
import type { Front, FrontOptions } from "@sallyport/local/front";
import { message, messages, sslRequest } from "../local/postgres-bytes.ts";
import { say, short } from "./clients/raw.ts";

type LightFront = Omit<Front, "misbehave">;
export interface Light extends Server<LightFront> {
  /** Sessions that are logged in. */
  live(): number;
  /** Those that were told to `stall` read on. */
  release(): void;
}

const ready = say("Z", Buffer.from("I"));
const row = (text: string): Buffer => {
  const bytes = Buffer.from(text);
  const size = Buffer.alloc(4);
  size.writeInt32BE(bytes.length);
  return say("D", short(1), size, bytes);
};
const column = say("T", short(1), "answer", 0, short(0), 25, short(-1), -1, short(0));
const answerOf = (text: string): Buffer => Buffer.concat([column, row(text), say("C", "SELECT 1"), ready]);
const answer = answerOf("1");
const greeting = (pid: number): Buffer =>
  Buffer.concat([say("R", 0), say("S", "server_version", "18.0"), say("K", pid, Buffer.from("0000")), ready]);

const exactly = (socket: Socket, count: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const read = (): void => {
      const bytes: Buffer | null = socket.read(count);
      if (bytes === null) return;
      socket.off("readable", read);
      resolve(bytes);
    };
    socket.on("readable", read);
    socket.once("close", () => reject(new Error("closed")));
    read();
  });

/** Room again, or nobody there any more. */
const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });

/** `flood n` answers n rows of a kilobyte each, no faster than they are read. */
const flood = async (socket: Socket, rows: number): Promise<void> => {
  const one = row("x".repeat(1_000));
  socket.write(column);
  for (let sent = 0; sent < rows && !socket.destroyed; sent += 1) if (!socket.write(one)) await drained(socket);
  socket.write(Buffer.concat([say("C", `SELECT ${rows}`), ready]));
};

export const makeLight = (): Light => {
  let live = 0;
  let pid = 1_000;
  const sockets = new Set<Socket>();
  let stalled = Promise.withResolvers<void>();

  const secureOf = async (raw: Socket, identity: FrontOptions["identity"]): Promise<TLSSocket> => {
    if (!(await exactly(raw, 8)).equals(sslRequest)) throw new Error("no request for TLS");
    raw.write("S");
    const secureContext = createSecureContext(identity);
    const socket = new TLSSocket(raw, { isServer: true, secureContext });
    await new Promise<void>((resolve, reject) => void socket.once("secure", resolve).once("close", reject));
    socket.on("error", () => {});
    return socket;
  };
  const serve = async (raw: Socket, options: Omit<FrontOptions, "upstream">, port: number): Promise<void> => {
    const socket = await secureOf(raw, options.identity);
    const head = await exactly(socket, 4);
    const words = (await exactly(socket, head.readInt32BE() - 4)).toString("utf8", 4).split("\0");
    const said = (name: string): string => words[words.indexOf(name) + 1] ?? "";
    socket.write(say("R", 3));
    const stream = messages(socket);
    const password = (await stream.next()).value?.body.subarray(0, -1).toString() ?? "";
    const who = { user: said("user"), database: said("database"), servername: undefined, host: "", port };
    if (!(await options.check({ ...who, password: secret(password) })))
      return void socket.end(message("E", "SFATAL\0C28P01\0Mno\0"));
    live += 1;
    socket.once("close", () => {
      live -= 1;
    });
    socket.write(greeting(pid++));
    for await (const { type, body } of stream) {
      if (type === "X") return void socket.end();
      const [, rows] = /^flood (\d+)/.exec(body.toString()) ?? [];
      if (type !== "Q") continue;
      const text = body.toString("utf8", 0, body.length - 1);
      if (rows !== undefined) await flood(socket, Number(rows));
      else if (text.startsWith("echo ")) socket.write(answerOf(text.slice(5)));
      else {
        if (text === "stall") await stalled.promise;
        socket.write(answer);
      }
    }
  };

  return {
    live: () => live,
    release: () => {
      stalled.resolve();
      stalled = Promise.withResolvers<void>();
    },
    front: async (options) => {
      let connections = 0;
      const none = { admitted: 0, refused: 0, cancels: 0, bytesBeforeLogin: 0, earlyBytes: 0 };
      const port = (): number => {
        const address = server.address();
        return typeof address === "object" && address ? address.port : 0;
      };
      const server = createServer({ noDelay: true }, (raw) => {
        connections += 1;
        sockets.add(raw);
        raw.on("error", () => {}).once("close", () => sockets.delete(raw));
        serve(raw, options, port()).catch(() => raw.destroy());
      });
      const host = options.host ?? "127.0.0.1";
      await new Promise<void>((resolve, reject) =>
        server.once("error", reject).listen({ host, port: options.port ?? 0, backlog: 2_000 }, resolve),
      );
      return {
        host,
        port: port(),
        counters: () => ({ connections, ...none }),
        cut: () => {
          const count = sockets.size;
          for (const socket of sockets) socket.destroy();
          return count;
        },
        close: async () => {
          const closed = new Promise<void>((resolve) => server.close(() => resolve()));
          for (const socket of sockets) socket.destroy();
          await closed;
        },
      };
    },
  };
};
