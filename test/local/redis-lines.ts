// Redis by hand: a command as bytes, and what a server says on a connection, line by line.
import type { Duplex } from "node:stream";

/** A command as clients send it. */
export const resp = (...words: readonly string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;

export interface Lines {
  /** The next so many, whatever they are; fewer when the connection ends before. */
  lines(count: number): Promise<readonly string[]>;
  /** What is left when it has ended. */
  rest(): Promise<string>;
}

export const hearLines = (socket: Duplex): Lines => {
  let held = "";
  let over = false;
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of [...waiting]) one();
  };
  socket.on("data", (bytes: Buffer) => {
    held += bytes.toString("latin1");
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    over = true;
    wake();
  });
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((answer) => {
      const look = (): void => {
        if (!holds() && !over) return;
        waiting.delete(look);
        answer();
      };
      waiting.add(look);
      look();
    });
  return {
    lines: async (count) => {
      await until(() => held.split("\r\n").length > count);
      const lines = held.split("\r\n");
      held = lines.slice(count).join("\r\n");
      return lines.slice(0, count);
    },
    rest: async () => {
      await until(() => false);
      return held;
    },
  };
};
