// Reading a stream by the byte, for those who speak to clients before anything is piped.
import type { Socket } from "node:net";
import { Failure } from "@sallyport/core/failure";

/** Exactly this many bytes; what comes behind them stays in the stream. */
export const take = (stream: Socket, count: number): Promise<Buffer> =>
  new Promise((answer, refuse) => {
    // one listener for the whole wait: each new one is told at once of what is buffered, which would spin on half a packet
    const events = ["readable", "end", "close"];
    const attempt = (): void => {
      const bytes: unknown = count === 0 ? Buffer.alloc(0) : stream.read(count);
      const whole = Buffer.isBuffer(bytes) && bytes.length === count;
      // at its end a stream gives what is left, however little
      if (!whole && bytes === null && !stream.readableEnded && !stream.destroyed) return;
      for (const event of events) stream.off(event, attempt);
      if (whole) answer(bytes);
      else refuse(new Failure("protocol", "the connection ended inside a packet"));
    };
    for (const event of events) stream.on(event, attempt);
    attempt();
  });
