// A client of a real cluster through the lane that shows it as one node.
import { once } from "node:events";
import { connect } from "node:net";
import { Failure } from "@sallyport/core/failure";
import type { Peer } from "@sallyport/wire/protocol";
import type { Node, Ways } from "@sallyport/wire/redis/lane";
import { gather } from "@sallyport/wire/redis/router";
import { type Talk, talkOver } from "./talk.ts";

export const shown = { host: "redis.example.com", port: 6379 };

/** Every node that was entered, as it was asked for. */
export interface Gathered extends Talk {
  readonly entered: Peer[];
}

const waysOf = (entered: Peer[] = []): Ways => ({
  shown,
  enter: async (peer, version, name): Promise<Node> => {
    entered.push(peer);
    const socket = connect({ host: peer.address, port: peer.port, noDelay: true });
    await once(socket, "connect").catch((cause: unknown) => {
      throw new Failure("upstream_unreachable", `${peer.address}:${peer.port} can't be reached`, { cause });
    });
    const talk = talkOver(socket);
    const hello = await talk.ask("HELLO", String(version), ...(name === undefined ? [] : ["SETNAME", name]));
    socket.pause();
    socket.removeAllListeners("data").removeAllListeners("close");
    return { socket, peer, version, hello: Buffer.from(hello, "latin1"), id: undefined, clustered: true };
  },
});

export const gatherAt = async (port: number, version: 2 | 3 = 2): Promise<Gathered> => {
  const entered: Peer[] = [];
  const ways = waysOf(entered);
  const first = await ways.enter({ address: "127.0.0.1", port }, version, undefined);
  const lane = await gather(first, ways);
  return { ...talkOver(lane), entered };
};
