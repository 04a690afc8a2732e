// What a cluster's nodes say of the cluster: which primary owns each slot, and at which address it is reached. Nothing but these
// addresses is ever dialled.
// https://redis.io/docs/latest/commands/cluster-slots/
import { Failure } from "@sallyport/core/failure";
import type { Peer } from "../protocol.ts";
import { bytesOf, elementsOf, isError, numberOf, textOf } from "./element.ts";
import { slotCount } from "./slot.ts";

/** A node that owns slots, or a copy of one. */
export interface Member {
  readonly id: string;
  readonly peer: Peer;
}

export interface Topology {
  /** The primaries, by id; their place in this list is their number. */
  readonly primaries: readonly Member[];
  /** By slot, the number of its primary; 0xffff where nobody owns it. */
  readonly owners: Uint16Array;
  /** Every address that the cluster names: primaries, replicas, and nodes that own nothing yet. */
  readonly named: ReadonlyMap<string, Peer>;
}

export const nobody = 0xffff;
const mostNodes = 4_096;

export const textOfPeer = ({ address, port }: Peer): string => `${address}:${port}`;

const unreadable = (what: string): Failure =>
  new Failure("upstream_refused", `the cluster's own list of its nodes can't be read: ${what}`, {
    hint: "the database user needs +cluster|slots and +cluster|myid in a cluster",
  });

/** A host name or an address; nothing that could be read as anything else. */
const isHost = (text: string): boolean => /^[0-9A-Za-z][0-9A-Za-z._-]{0,254}$|^[0-9A-Fa-f:.]{2,45}$/.test(text);

const memberOf = (node: Buffer, asked: Peer): Member => {
  const [host, port, id] = elementsOf(node);
  if (!host || !port) throw unreadable("a node without an address");
  const said = textOf(host);
  // nothing, or nothing known: the address it was asked at
  const address = said === undefined || said === "" || said === "?" ? asked.address : said;
  const peer = { address, port: numberOf(port) };
  if (!isHost(address) || peer.port < 1 || peer.port > 65_535) throw unreadable("an address");
  return { peer, id: (id && bytesOf(id)?.toString("latin1")) || textOfPeer(peer) };
};

/** The answer to CLUSTER SLOTS of the node at `asked`. @throws Failure `upstream_refused` */
export const parseSlots = (answer: Buffer, asked: Peer): Topology => {
  if (isError(answer)) throw unreadable(answer.toString("latin1", 1, 200).trim());
  const primaries = new Map<string, Member>();
  const named = new Map<string, Peer>();
  const ranges = elementsOf(answer).map((range) => {
    const [first, last, primary, ...replicas] = elementsOf(range);
    if (!first || !last || !primary) throw unreadable("a range without a node");
    const [from, to] = [numberOf(first), numberOf(last)];
    if (from < 0 || to >= slotCount || from > to) throw unreadable("a range of slots");
    const member = memberOf(primary, asked);
    primaries.set(textOfPeer(member.peer), member);
    for (const node of [primary, ...replicas]) {
      const { peer } = memberOf(node, asked);
      named.set(textOfPeer(peer), peer);
    }
    if (named.size > mostNodes) throw unreadable("too many nodes");
    return { from, to, at: textOfPeer(member.peer) };
  });
  if (primaries.size === 0) throw unreadable("nobody owns a slot");
  const sorted = [...primaries.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  const owners = new Uint16Array(slotCount).fill(nobody);
  const numbers = new Map(sorted.map(({ peer }, at) => [textOfPeer(peer), at]));
  for (const { from, to, at } of ranges) owners.fill(numbers.get(at) ?? nobody, from, to + 1);
  return { primaries: sorted, owners, named };
};

/** `id address:port@bus[,host] flags …`: also the nodes that own no slots. What can't be read of it, and a refusal, adds nothing. */
export const parseNodes = (answer: Buffer | undefined, topology: Topology): Topology => {
  if (!answer || isError(answer)) return topology;
  const named = new Map(topology.named);
  for (const line of (textOf(answer) ?? "").split("\n").slice(0, mostNodes)) {
    const [, at = "", flags = ""] = line.split(" ");
    const [, address = "", port = "", host = ""] = /^(.*):(\d{1,5})(?:@\d*)?(?:,([^,]*))?/.exec(at) ?? [];
    if (/noaddr|handshake/.test(flags) || Number(port) < 1 || Number(port) > 65_535) continue;
    for (const name of [address, host]) {
      const peer = { address: name, port: Number(port) };
      if (isHost(name)) named.set(textOfPeer(peer), peer);
    }
  }
  return { ...topology, named };
};

/** Which of the primaries gave this answer to CLUSTER NODES. */
export const findMyself = (answer: Buffer | undefined, { primaries }: Topology): Member | undefined => {
  if (!answer || isError(answer)) return undefined;
  const [id] = /^(\S+) \S+ (?:\S+,)?myself\b/m.exec(textOf(answer) ?? "")?.slice(1) ?? [];
  return primaries.find((member) => member.id === id);
};

export interface Redirect {
  readonly slot: number;
  readonly peer: Peer;
}

/** `MOVED 3999 10.0.0.2:6379` or `ASK …`, as said by the node at `from`. @throws Failure `upstream_refused` */
export const parseRedirect = (line: string, from: Peer): Redirect => {
  const [, slot = "", at = ""] = line.trim().split(" ");
  const colon = at.lastIndexOf(":");
  const address = at.slice(0, Math.max(0, colon)) || from.address;
  const port = Number(at.slice(colon + 1));
  const valid = /^\d{1,5}$/.test(slot) && Number(slot) < slotCount && isHost(address) && port >= 1 && port <= 65_535;
  if (!valid || !Number.isInteger(port)) throw unreadable("where a key has moved to");
  return { slot: Number(slot), peer: { address, port } };
};
