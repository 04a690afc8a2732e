// A plain conversation in RESP: commands out, answers back as the bytes that came, one by one; pushes apart.
import { once } from "node:events";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { command } from "@sallyport/wire/redis/message";
import { openReplies } from "@sallyport/wire/redis/reply";

export interface Talk {
  readonly stream: Duplex;
  /** One command and its answer, in Latin-1. */
  ask(...words: readonly (string | Buffer)[]): Promise<string>;
  /** Commands in one write, and as many answers. */
  all(commands: readonly (readonly (string | Buffer)[])[]): Promise<readonly string[]>;
  write(bytes: Buffer): void;
  /** The next answer. */
  next(): Promise<string>;
  /** Pushes so far. */
  readonly pushes: string[];
  close(): void;
}

export const talkOver = (stream: Duplex): Talk => {
  const replies = openReplies();
  const answers: string[] = [];
  const pushes: string[] = [];
  const waiting: { resolve(answer: string): void; reject(error: Error): void }[] = [];
  let pieces: Buffer[] = [];
  let ended: Error | undefined;
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      const end = replies.next(chunk, at);
      pieces.push(chunk.subarray(at, end < 0 ? chunk.length : end));
      if (end < 0) return;
      at = end;
      const answer = Buffer.concat(pieces).toString("latin1");
      pieces = [];
      if (answer.startsWith(">")) pushes.push(answer);
      else if (waiting.length > 0) waiting.shift()?.resolve(answer);
      else answers.push(answer);
    }
  });
  stream.once("close", () => {
    ended = stream.errored ?? new Error("closed");
    for (const { reject } of waiting) reject(ended);
  });
  const next = (): Promise<string> => {
    const answer = answers.shift();
    if (answer !== undefined) return Promise.resolve(answer);
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
    });
  };
  const all: Talk["all"] = (commands) => {
    stream.write(Buffer.concat(commands.map((words) => command(...words))));
    return Promise.all(commands.map(() => next()));
  };
  return {
    stream,
    pushes,
    all,
    next,
    ask: async (...words) => (await all([words]))[0] ?? "",
    write: (bytes) => stream.write(bytes),
    close: () => stream.destroy(),
  };
};

export const openTalk = async (port: number): Promise<Talk> => {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return talkOver(socket);
};
