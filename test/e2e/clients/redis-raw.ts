// A Redis client of bytes, with none of the product's code: for what no library lets one do. Answers are read line by line.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { hearLines, resp } from "../../local/redis-lines.ts";
import type { Place } from "./way.ts";

export interface RawRedis {
  readonly socket: Socket;
  /** Commands as clients send them, all in one write. */
  say(...commands: readonly (readonly string[])[]): void;
  send(bytes: string | Buffer): void;
  /** The next lines; fewer when it is over before. */
  lines(count: number): Promise<readonly string[]>;
  /** Everything until it is over. */
  rest(): Promise<string>;
  close(): void;
}

const dial = async ({ host, port, ca }: Pick<Place, "host" | "port" | "ca">): Promise<Socket> => {
  const socket = ca === undefined ? connect({ host, port }) : connectTls({ host, port, ca, servername: host });
  await once(socket, ca === undefined ? "connect" : "secureConnect");
  return socket;
};

/** Connected, not logged in: at a plain port that comes next, a tunnel has it behind it. */
export const openRedisRaw = async (place: Pick<Place, "host" | "port" | "ca">): Promise<RawRedis> => {
  const socket = await dial(place);
  const { lines, rest } = hearLines(socket);
  return {
    socket,
    say: (...commands) => void socket.write(commands.map((words) => resp(...words)).join("")),
    send: (bytes) => void socket.write(bytes),
    lines,
    rest,
    close: () => socket.destroy(),
  };
};
