// A request's body, as far as it is wanted.
import type { IncomingMessage } from "node:http";

/** The whole body, or undefined when it is over the limit; nothing past the limit is kept. */
export const collect = async (incoming: IncomingMessage, limit: number): Promise<Buffer | undefined> => {
  if (Number(incoming.headers["content-length"] ?? 0) > limit) return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};
