// What a client sets for its connection holds on every node that it talks to, also on those that it comes to later. And what it asks
// about the cluster is answered here: it is one node.
import { Failure } from "@sallyport/core/failure";
import { type Ask, newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Handler, Request, Taken } from "./cluster.ts";
import { array, isError, number, ok } from "./element.ts";
import type { Version } from "./lane.ts";
import { errorLine } from "./message.ts";
import type { Shown } from "./shown.ts";
import { slotCount, slotOf } from "./slot.ts";
import { nobody } from "./topology.ts";
import { isWord, numberAt, textAt } from "./word.ts";

export interface Settings {
  readonly handlers: ReadonlyMap<string, Handler>;
  version(): Version;
  /** Of CLIENT SETNAME. */
  name(): string | undefined;
  /** What a node that is new to the session is told first. */
  readonly told: () => readonly Buffer[];
  /** CLIENT CACHING, which is about the next command alone, with all of its parts. */
  prefix(of: Ask | undefined): Buffer | undefined;
  /** Does the client keep what it reads until it hears otherwise? */
  tracks(): boolean;
}

export interface SettingsOptions {
  readonly cluster: Cluster;
  readonly shown: Shown;
  readonly version: Version;
  /** Leaves all nodes but home, and all that was set. */
  reset(): void;
}

const noRedirect = errorLine(
  "ERR CLIENT TRACKING with REDIRECT is not possible in a cluster: use RESP3 (HELLO 3), where invalidations come on this connection",
);

const apart = (): Failure =>
  new Failure("upstream_refused", "the nodes of the cluster do not take the same login", {
    hint: "what changed for the user is on all of them after a moment: connect again",
  });

export const openSettings = ({ cluster, shown, version: first, reset }: SettingsOptions): Settings => {
  let version = first;
  let name: string | undefined;
  let caching: { readonly bytes: Buffer; of: Ask | undefined } | undefined;
  let tracks = false;
  const told = new Map<string, Buffer>();

  /** Told what each node answers to the same: on none may the session be somebody else than on another. */
  const sameEverywhere = (): ((branch: Branch, answer: Buffer) => void) => {
    let refused: boolean | undefined;
    return (branch, answer) => {
      if (branch.gone()) return;
      const is = isError(answer);
      if (is !== (refused ?? is)) cluster.broken(apart());
      refused = is;
    };
  };
  /** Told to every node that there is a connection to; the answer is home's. What comes behind it waits. */
  const everywhere = (
    { bytes, from, to }: Request,
    {
      on = cluster.open(),
      agreed,
      heard,
    }: {
      readonly on?: readonly Branch[];
      readonly agreed?: () => void;
      readonly heard?: (branch: Branch, answer: Buffer) => void;
    } = {},
  ): Taken => {
    const home = cluster.home();
    const whole = (answer: Buffer): Buffer => {
      heard?.(home, answer);
      if (!isError(answer)) agreed?.();
      return answer;
    };
    cluster.settle();
    cluster.send(home, newAsk(bytes, from, to, -1, { whole }));
    const copy = Buffer.from(bytes.subarray(from, to));
    for (const branch of on) if (branch !== home) cluster.whisper(branch, copy, (answer) => heard?.(branch, answer));
    return "taken";
  };
  const copyOf = ({ bytes, from, to }: Request): Buffer => Buffer.from(bytes.subarray(from, to));
  /** Kept for nodes to come under `key`; without it, `forgets` is what is kept no more. */
  const setting =
    (keyOf: (request: Request) => string): Handler =>
    (request) => {
      const [key, copy] = [keyOf(request), copyOf(request)];
      return everywhere(request, { agreed: () => told.set(key, copy) });
    };

  const hello: Handler = (request) => {
    const { words } = request;
    const wanted = words.count > 1 ? numberAt(words, 1) : undefined;
    if (wanted !== 2 && wanted !== 3) return "pass";
    let named: string | undefined;
    for (let at = 2; at + 1 < words.count; at++) if (isWord(words, at, "setname")) named = textAt(words, ++at);
    return everywhere(request, {
      heard: sameEverywhere(),
      agreed: () => {
        version = wanted;
        name = named ?? name;
      },
    });
  };
  const auth: Handler = (request) => {
    const parent = newAsk(request.bytes, request.from, request.to, -1);
    const [copy, branches] = [copyOf(request), cluster.open()];
    const heard = sameEverywhere();
    let left = branches.length;
    let said: Buffer | undefined;
    cluster.settle();
    cluster.order.expect(parent);
    for (const branch of branches)
      cluster.whisper(
        branch,
        copy,
        (answer) => {
          heard(branch, answer);
          if (!branch.gone()) said = answer;
          if (--left > 0) return;
          cluster.order.take(parent, said ?? answer);
          cluster.order.end(parent);
        },
        { of: parent },
      );
    return "taken";
  };
  const setName: Handler = (request) => {
    const wanted = textAt(request.words, 2);
    return everywhere(request, {
      agreed: () => {
        name = wanted === "" ? undefined : wanted;
      },
    });
  };
  const tracking: Handler = (request) => {
    const { words } = request;
    const on = isWord(words, 2, "on");
    let broadcast = false;
    for (let at = 3; at < words.count; at++) {
      if (isWord(words, at, "redirect")) {
        cluster.answer(noRedirect);
        return "taken";
      }
      broadcast ||= isWord(words, at, "bcast");
      if (isWord(words, at, "prefix")) at++;
    }
    const copy = copyOf(request);
    return everywhere(request, {
      // what changes on any node is told by that node
      on: broadcast ? [...new Set([...cluster.open(), ...cluster.primaries()])] : cluster.open(),
      agreed: () => {
        tracks = on;
        if (on) told.set("tracking", copy);
        else told.delete("tracking");
      },
    });
  };
  const cache: Handler = (request) => {
    if (!tracks) return "pass";
    caching = { bytes: copyOf(request), of: undefined };
    cluster.answer(ok);
    return "taken";
  };
  const readWrite: Handler = (request) => everywhere(request, { agreed: () => told.delete("readonly") });
  const resetAll: Handler = ({ bytes, from, to }) => {
    version = 2;
    name = undefined;
    caching = undefined;
    tracks = false;
    told.clear();
    reset();
    cluster.settle();
    cluster.send(cluster.home(), newAsk(bytes, from, to, -1));
    return "taken";
  };

  const say =
    (words: () => Buffer): Handler =>
    () => {
      cluster.answer(words());
      return "taken";
    };
  /** About one slot, which stands as an argument: the node that owns it knows. */
  const inSlot: Handler = ({ words, bytes, from, to }) => {
    const slot = numberAt(words, 2);
    const branch = slot !== undefined && slot >= 0 && slot < slotCount ? cluster.owner(slot) : undefined;
    if (!branch) return "pass";
    cluster.send(branch, newAsk(bytes, from, to, -1));
    return "taken";
  };
  const ofNode =
    (words: Buffer): Handler =>
    (request) => {
      const id = textAt(request.words, 2, 64);
      cluster.answer(shown.isOurs(id) ? words : errorLine(`ERR Unknown node ${id.replace(/[^\w-]/g, "?")}`));
      return "taken";
    };
  const keySlot: Handler = ({ words }) => {
    cluster.answer(number(slotOf(words.bytes, words.starts[2] ?? 0, words.ends[2] ?? 0)));
    return "taken";
  };

  return {
    version: () => version,
    name: () => name,
    told: () => [...told.values()],
    prefix: (of) => {
      if (!caching) return undefined;
      const { bytes, of: before } = caching;
      const over = before !== undefined && before !== of;
      if (over || !of) caching = undefined;
      else caching.of = of;
      return over ? undefined : bytes;
    },
    tracks: () => tracks,
    handlers: new Map<string, Handler>([
      ["hello", hello],
      ["auth", auth],
      ["reset", resetAll],
      ["readonly", setting(() => "readonly")],
      ["readwrite", readWrite],
      ["asking", say(() => ok)],
      ["client|setname", setName],
      ["client|setinfo", setting(({ words }) => `setinfo ${textAt(words, 2, 32).toLowerCase()}`)],
      ["client|no-evict", setting(() => "no-evict")],
      ["client|no-touch", setting(() => "no-touch")],
      ["client|capa", setting(() => "capa")],
      ["client|import-source", setting(() => "import-source")],
      ["client|tracking", tracking],
      ["client|caching", cache],
      ["cluster|slots", say(() => shown.slots(version))],
      ["cluster|shards", say(() => shown.shards(version))],
      ["cluster|nodes", say(() => shown.nodes(version))],
      ["cluster|info", say(() => shown.info(version, cluster.topology().owners.indexOf(nobody) < 0))],
      ["cluster|myid", say(() => shown.id())],
      ["cluster|myshardid", say(() => shown.shardId())],
      ["cluster|links", say(() => array([]))],
      ["cluster|replicas", ofNode(array([]))],
      ["cluster|slaves", ofNode(array([]))],
      ["cluster|count-failure-reports", ofNode(number(0))],
      ["cluster|keyslot", keySlot],
      ["cluster|countkeysinslot", inSlot],
      ["cluster|getkeysinslot", inSlot],
    ]),
  };
};
