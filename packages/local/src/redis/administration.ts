// The smallest Redis client: commands over the private socket, logged in as the superuser, answered in order. For the laptop
// account's own administration only.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import { connect, type Socket } from "node:net";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";

export type Reply = string | number | null | Failure | readonly Reply[];

export interface Administration {
  /** @throws Failure in the server's words, or `unavailable` when it is gone */
  command(...words: readonly string[]): Promise<Reply>;
  close(): void;
}

interface Waiting {
  readonly answer: (reply: Reply) => void;
  readonly refuse: (failure: Failure) => void;
}

const crlf = "\r\n";
const worded = (words: readonly string[]): string =>
  `*${words.length}${crlf}${words.map((word) => `$${Buffer.byteLength(word)}${crlf}${word}${crlf}`).join("")}`;

/** One reply of RESP2 and where it ends, or undefined while it is not whole. */
const parseReply = (bytes: Buffer, from: number): { readonly reply: Reply; readonly end: number } | undefined => {
  const lineEnd = bytes.indexOf(crlf, from);
  if (lineEnd < 0) return undefined;
  const [type, line, end] = [
    String.fromCharCode(bytes[from] ?? 0),
    bytes.toString("utf8", from + 1, lineEnd),
    lineEnd + 2,
  ];
  if (type === "+") return { reply: line, end };
  if (type === "-") return { reply: new Failure("invalid", line), end };
  if (type === ":") return { reply: Number(line), end };
  const count = Number(line);
  if (count < 0) return { reply: null, end };
  if (type === "$") {
    if (bytes.length < end + count + 2) return undefined;
    return { reply: bytes.toString("utf8", end, end + count), end: end + count + 2 };
  }
  const replies: Reply[] = [];
  let at = end;
  while (replies.length < count) {
    const next = parseReply(bytes, at);
    if (!next) return undefined;
    replies.push(next.reply);
    at = next.end;
  }
  return { reply: replies, end: at };
};

/** Connects when it is first asked for something, and again when the connection was lost. */
export const openAdministration = (
  path: string,
  login: { readonly user: string; readonly password: Secret },
): Administration => {
  let open: { readonly socket: Socket; readonly waiting: Waiting[] } | undefined;

  const reach = () => {
    const socket = connect(path);
    const waiting: Waiting[] = [];
    const made = { socket, waiting };
    let held: Buffer = Buffer.alloc(0);
    socket.on("data", (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      for (;;) {
        const next = parseReply(held, 0);
        if (!next) return;
        held = held.subarray(next.end);
        waiting.shift()?.answer(next.reply);
      }
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (open === made) open = undefined;
      for (const { refuse } of waiting.splice(0))
        refuse(new Failure("unavailable", "the redis behind the front is gone"));
    });
    open = made;
    void say(["AUTH", login.user, login.password.reveal()]).catch(() => socket.destroy());
    return made;
  };

  const say = (words: readonly string[]): Promise<Reply> =>
    new Promise((answer, refuse) => {
      const { socket, waiting } = open ?? reach();
      waiting.push({ answer, refuse });
      socket.write(worded(words));
    });

  return {
    async command(...words) {
      const reply = await say(words);
      if (reply instanceof Failure) throw reply;
      return reply;
    },
    close: () => open?.socket.destroy(),
  };
};
