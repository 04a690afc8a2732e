// Nodes of a cluster that say whatever a test has them say, and a client's conversation with the lane over them.
import { Duplex } from "node:stream";
import { Failure } from "@sallyport/core/failure";
import type { Peer, Socket } from "@sallyport/wire/protocol";
import { array, bulk, number } from "@sallyport/wire/redis/element";
import { openReader } from "@sallyport/wire/redis/frame";
import { gather } from "@sallyport/wire/redis/router";
import { bytesAt } from "@sallyport/wire/redis/word";
import { afterEach } from "vitest";
import { type Talk, talkOver } from "./talk.ts";

export type Answer = (words: readonly string[], port: number) => Buffer | string | undefined;

const ports = [7001, 7002, 7003] as const;
export const address = "10.0.0.1";
export const slots = (): Buffer =>
  array(
    ports.map((port, at) => {
      const [from, to] = [Math.floor((at * 16_384) / 3), Math.floor(((at + 1) * 16_384) / 3) - 1];
      return array([number(from), number(to), array([bulk(address), number(port), bulk(`id${port}`)])]);
    }),
  );

/** A node as a stream: what `answer` says to each command. */
export const nodeAt = (port: number, answer: Answer): Duplex => {
  const reader = openReader();
  let rest: Buffer = Buffer.alloc(0);
  const node: Duplex = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _, done) => {
      rest = Buffer.concat([rest, chunk]);
      let at = 0;
      reader.forget();
      for (let end = reader.read(rest, at); end >= 0; end = at < rest.length ? reader.read(rest, at) : -1) {
        const { reading } = reader;
        const words = Array.from({ length: reading.count }, (_word, index) =>
          bytesAt(reading, index).toString("latin1"),
        );
        at = end;
        const standard = words[0] === "CLUSTER" ? (words[1] === "SLOTS" ? slots() : bulk("")) : undefined;
        const said = answer(words, port) ?? standard ?? "+OK\r\n";
        if (!node.destroyed) node.push(said);
      }
      rest = rest.subarray(at);
      done();
    },
  });
  return node;
};

const open: Duplex[] = [];
afterEach(() => {
  for (const stream of open.splice(0)) stream.destroy();
});

export const gatherWith = async (
  answer: Answer,
  version: 2 | 3 = 3,
  /** Before it is said that nobody is at an address. */
  unreached: () => Promise<void> = async () => {},
): Promise<{ lane: Socket; talk: Talk; entered: Peer[]; nodes: readonly Duplex[] }> => {
  const entered: Peer[] = [];
  const nodes: Duplex[] = [];
  const enter = async (peer: Peer) => {
    entered.push(peer);
    if (!ports.some((port) => port === peer.port)) {
      await unreached();
      throw new Failure("upstream_unreachable", "nobody is there");
    }
    const socket = nodeAt(peer.port, answer);
    open.push(socket);
    nodes.push(socket);
    return { socket, peer, version, hello: Buffer.alloc(0), id: undefined, clustered: true };
  };
  const ways = { enter, shown: { host: "redis", port: 6379 } };
  const lane = (await gather(await enter({ address, port: ports[0] }), ways)) as Duplex;
  open.push(lane);
  return { lane, talk: talkOver(lane), entered, nodes };
};

export const within = (promise: Promise<string>): Promise<string> =>
  promise.catch((thrown: unknown) => (thrown instanceof Failure ? `${thrown.code}: ${thrown.message}` : "closed"));
