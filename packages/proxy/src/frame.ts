// A frame: u16 length in network order, then so many bytes. What the gate and the peers speak before anything else.
import type { Duplex } from "node:stream";
import { Failure } from "@sallyport/core/failure";

const header = 2;

/** One frame; what came behind it is put back. @throws Failure `too_large`, or `protocol` when the stream ends first */
export const readFrame = (socket: Duplex, limit: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    let have: Buffer = Buffer.alloc(0);
    const stop = (): void => {
      socket.off("readable", read);
      socket.off("end", closed);
      socket.off("close", closed);
      socket.off("error", closed);
    };
    const fail = (failure: Failure): void => {
      stop();
      reject(failure);
    };
    const closed = (): void => fail(new Failure("protocol", "the connection ended before its first frame"));
    /** Takes a chunk in; true when there is no need for more. */
    const take = (chunk: Buffer): boolean => {
      have = have.length === 0 ? chunk : Buffer.concat([have, chunk]);
      if (have.length < header) return false;
      const end = header + have.readUInt16BE(0);
      if (end - header > limit) {
        fail(new Failure("too_large", `a frame has at most ${limit} bytes`));
        return true;
      }
      if (have.length < end) return false;
      stop();
      if (have.length > end) socket.unshift(have.subarray(end));
      resolve(have.subarray(header, end));
      return true;
    };
    const read = (): void => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null && !take(chunk); ) chunk = socket.read();
    };
    socket.on("readable", read);
    socket.once("end", closed);
    socket.once("close", closed);
    socket.once("error", closed);
    if (socket.destroyed || socket.readableEnded) closed();
    else read();
  });

export const sendFrame = (socket: Duplex, body: Uint8Array): void => {
  const length = Buffer.alloc(header);
  length.writeUInt16BE(body.length);
  socket.write(Buffer.concat([length, body]));
};
export const writeFrame = (socket: Duplex, value: unknown): void =>
  sendFrame(socket, Buffer.from(JSON.stringify(value)));
