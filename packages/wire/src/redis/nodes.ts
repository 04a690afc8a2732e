// The connections of one session to the nodes of a cluster: opened when they are first needed, given up when they break, and never to
// an address that the cluster does not list.
import { Failure } from "@sallyport/core/failure";
import type { Peer } from "../protocol.ts";
import { type Branch, type BranchHooks, openBranch } from "./branch.ts";
import type { Node } from "./lane.ts";
import { type Topology, textOfPeer } from "./topology.ts";

export interface Nodes {
  topology(): Topology;
  /** The nodes are these now. */
  learn(topology: Topology): void;
  /** @throws Failure at an address that the cluster does not list */
  at(peer: Peer): Branch;
  home(): Branch;
  owner(slot: number): Branch | undefined;
  primaries(): readonly Branch[];
  /** Home first. */
  open(): readonly Branch[];
  /** As open, and nothing is opened for it. */
  all(): readonly Branch[];
  /** The slot is that primary's; false when it is none. */
  moved(slot: number, peer: Peer): boolean;
  forget(branch: Branch): void;
  /** Leaves all but home. */
  goHome(): void;
}

export interface NodesOptions {
  readonly topology: Topology;
  /** The node that the endpoint led to, where it is a primary. */
  readonly first: { readonly node: Node; readonly peer: Peer } | undefined;
  enter(peer: Peer): Promise<Node>;
  /** A node that is new to the session. */
  opened(branch: Branch): void;
  readonly hooks: BranchHooks;
}

const unlisted = (peer: Peer): Failure =>
  new Failure("upstream_refused", `${textOfPeer(peer)} is not a node that the cluster lists`);

export const openNodes = ({ topology: begun, first, enter, opened, hooks }: NodesOptions): Nodes => {
  let topology = begun;
  const branches = new Map<string, Branch>();
  /** As `topology.primaries`, where there is a connection: looked at for each command. */
  let byNumber: (Branch | undefined)[] = [];
  let home: Branch | undefined;

  const add = (peer: Peer, node: Node | Promise<Node>): Branch => {
    const branch = openBranch(peer, node, hooks);
    branches.set(textOfPeer(peer), branch);
    return branch;
  };
  const at = (peer: Peer): Branch => {
    const name = textOfPeer(peer);
    const known = branches.get(name);
    if (known) return known;
    if (!topology.named.has(name)) throw unlisted(peer);
    const branch = add(peer, enter(peer));
    opened(branch);
    return branch;
  };
  const primaries = (): readonly Branch[] => topology.primaries.map(({ peer }) => at(peer));
  const isPrimary = ({ peer }: Branch): boolean => {
    const name = textOfPeer(peer);
    return topology.primaries.some((member) => textOfPeer(member.peer) === name);
  };
  const findHome = (): Branch => {
    // a subscription stays where it is heard
    if (home && !home.gone() && (isPrimary(home) || home.subscribed.channels > 0)) return home;
    home = [...branches.values()].find(isPrimary);
    const [member] = topology.primaries;
    if (!home && !member) throw new Failure("upstream_refused", "no node of the cluster owns a slot");
    home ??= member && at(member.peer);
    return home ?? at({ address: "", port: 0 });
  };
  const open = (): readonly Branch[] => {
    const [one, all] = [findHome(), [...branches.values()]];
    return [one, ...all.filter((branch) => branch !== one)];
  };

  if (first) home = add(first.peer, first.node);
  return {
    topology: () => topology,
    learn: (seen) => {
      topology = seen;
      byNumber = [];
      for (const [name, branch] of branches) {
        if (seen.named.has(name) || branch.waiting() > 0) continue;
        branches.delete(name);
        branch.destroy();
      }
    },
    at,
    home: findHome,
    owner: (slot) => {
      const number = topology.owners[slot] ?? -1;
      const known = byNumber[number];
      if (known) return known;
      const member = topology.primaries[number];
      if (member) byNumber[number] = at(member.peer);
      return byNumber[number];
    },
    primaries,
    open,
    all: () => [...branches.values()],
    moved: (slot, peer) => {
      const name = textOfPeer(peer);
      const number = topology.primaries.findIndex((member) => textOfPeer(member.peer) === name);
      if (number >= 0) topology.owners[slot] = number;
      return number >= 0;
    },
    forget: (branch) => {
      const name = textOfPeer(branch.peer);
      byNumber = [];
      if (branches.get(name) === branch) branches.delete(name);
    },
    goHome: () => {
      const one = findHome();
      byNumber = [];
      for (const [name, branch] of branches) {
        if (branch === one) continue;
        branches.delete(name);
        branch.destroy();
      }
    },
  };
};
