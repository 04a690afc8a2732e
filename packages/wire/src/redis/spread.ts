// Commands that concern several nodes: those over keys of several slots are cut up slot by slot, those about the whole database are
// asked of every node that owns a part. Parts are not one step: another client may come between them.
// https://redis.io/docs/latest/develop/reference/command-tips/
import { newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Handler, Request, Taken } from "./cluster.ts";
import { decodeCursor, nextCursor, type Place, tagOf } from "./cursor.ts";
import { array, bulk, elementsOf, isError, textOf } from "./element.ts";
import * as merges from "./merge.ts";
import { command, errorLine } from "./message.ts";
import { slotOf } from "./slot.ts";
import { bytesAt, isWord, textAt, type Words } from "./word.ts";

/** How many arguments belong to a key, and how the answers become one. */
const keyed: Readonly<Record<string, { readonly width: number; readonly merge: merges.Merge | "inPlace" }>> = {
  mget: { width: 1, merge: "inPlace" },
  mset: { width: 2, merge: merges.first },
  del: { width: 1, merge: merges.sum },
  unlink: { width: 1, merge: merges.sum },
  exists: { width: 1, merge: merges.sum },
  touch: { width: 1, merge: merges.sum },
};

/** Of every node that owns slots. */
const whole: Readonly<Record<string, merges.Merge>> = {
  ...{ dbsize: merges.sum, keys: merges.concatenated, randomkey: merges.any, info: merges.info },
  ...{ flushall: merges.first, flushdb: merges.first, "memory|purge": merges.first },
  ...{ "script|load": merges.first, "script|flush": merges.first, "script|exists": merges.leastEach },
  ...{ "script|kill": merges.anyOk, "function|kill": merges.anyOk },
  ...{ "function|load": merges.first, "function|delete": merges.first, "function|flush": merges.first },
  ...{ "function|restore": merges.first },
  ...{ "pubsub|channels": merges.united, "pubsub|shardchannels": merges.united, "pubsub|numpat": merges.sum },
  ...{ "pubsub|numsub": merges.countedEach, "pubsub|shardnumsub": merges.countedEach },
  ...{ "slowlog|len": merges.sum, "slowlog|reset": merges.first, "latency|reset": merges.sum },
  ...{ "client|pause": merges.first, "client|unpause": merges.first },
};
/** Of every node that this client has talked to. */
const touched: Readonly<Record<string, merges.Merge>> = { wait: merges.least, waitaof: merges.leastEach };

interface Part {
  readonly branch: Branch;
  readonly bytes: Buffer;
  readonly slot: number;
}

/** Asks for all of the parts, and answers with what is made of them. */
const askParts = (
  cluster: Cluster,
  { bytes, from, to }: Request,
  parts: readonly Part[],
  merge: (answers: readonly Buffer[]) => Buffer,
): Taken => {
  const parent = newAsk(bytes, from, to, -1);
  const answers: Buffer[] = [];
  let left = parts.length;
  const take = (at: number, answer: Buffer): undefined => {
    answers[at] = answer;
    cluster.order.whole(answer.length);
    if (--left > 0) return;
    for (const { length } of answers) cluster.order.whole(-length);
    cluster.order.take(parent, merge(answers));
    cluster.order.end(parent);
  };
  cluster.order.expect(parent);
  for (const [at, { branch, bytes: some, slot }] of parts.entries()) {
    const whole = (answer: Buffer): undefined => take(at, answer);
    cluster.send(branch, newAsk(some, 0, some.length, slot, { due: false, of: parent, whole }));
  }
  return "taken";
};

/** The arguments that begin with a key, by their slots, in the order in which slots come up. */
const bySlot = (words: Words, width: number): ReadonlyMap<number, readonly number[]> => {
  const groups = new Map<number, number[]>();
  for (let at = 1; at < words.count; at += width) {
    const slot = slotOf(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0);
    const group = groups.get(slot);
    if (group) group.push(at);
    else groups.set(slot, [at]);
  }
  return groups;
};

/** The answers' elements where their keys stood. */
const inPlace =
  (groups: readonly (readonly number[])[]): merges.Merge =>
  (answers) => {
    const error = answers.find(isError);
    if (error) return error;
    const elements: Buffer[] = [];
    for (const [at, group] of groups.entries()) {
      const some = elementsOf(answers[at] ?? array([]));
      for (const [index, place] of group.entries()) elements[place - 1] = some[index] ?? Buffer.from("$-1\r\n");
    }
    return array(elements);
  };

const overKeys =
  (cluster: Cluster, name: string, width: number, merge: merges.Merge | "inPlace"): Handler =>
  (request) => {
    const { words } = request;
    if ((words.count - 1) % width !== 0) return "pass";
    const first = slotOf(words.bytes, words.starts[1] ?? 0, words.ends[1] ?? 0);
    let one = true;
    for (let at = 1 + width; one && at < words.count; at += width)
      one = slotOf(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0) === first;
    if (one) return "pass";
    const groups = bySlot(words, width);
    const parts: Part[] = [];
    for (const [slot, group] of groups) {
      const some = group.flatMap((at) => Array.from({ length: width }, (_, behind) => bytesAt(words, at + behind)));
      // nobody owns it: any node says so
      parts.push({ branch: cluster.owner(slot) ?? cluster.home(), bytes: command(name, ...some), slot });
    }
    const made = merge === "inPlace" ? inPlace([...groups.values()]) : merge;
    const version = cluster.version();
    return askParts(cluster, request, parts, (answers) => made(answers, version));
  };

const ofAll =
  (cluster: Cluster, branches: () => readonly Branch[], merge: merges.Merge): Handler =>
  (request) => {
    const asked = branches();
    if (asked.length < 2) return "pass";
    const bytes = request.bytes.subarray(request.from, request.to);
    const version = cluster.version();
    // home first: what only one can say, it says
    const [home, others] = [cluster.home(), asked.filter((branch) => branch !== cluster.home())];
    const parts = [home, ...others].map((branch) => ({ branch, bytes, slot: -1 }));
    return askParts(cluster, request, parts, (answers) => merge(answers, version));
  };

const scan =
  (cluster: Cluster): Handler =>
  (request) => {
    const { primaries } = cluster.topology();
    if (primaries.length < 2) return "pass";
    const { words } = request;
    const tag = tagOf(primaries.map(({ id }) => id));
    const place: Place | undefined = decodeCursor(textAt(words, 1, 21), primaries.length, tag);
    const branch = place && cluster.primaries()[place.node];
    // the server has words for what is no cursor
    if (!place || !branch) return "pass";
    const rest = Array.from({ length: words.count - 2 }, (_, at) => bytesAt(words, at + 2));
    const bytes = command("SCAN", place.cursor, ...rest);
    return askParts(cluster, request, [{ branch, bytes, slot: -1 }], ([answer = array([])]) => {
      if (isError(answer)) return answer;
      const [cursor = bulk("0"), keys = array([])] = elementsOf(answer);
      try {
        const next = nextCursor({ node: place.node, cursor: textOf(cursor) ?? "0" }, primaries.length, tag);
        return array([bulk(next), keys]);
      } catch {
        return errorLine("ERR the node's cursor is too large to be shown beside the node's number");
      }
    });
  };

/** A connection's number and address are one node's: those that the client was shown are home's. */
const kill = (cluster: Cluster): Handler => {
  const everywhere = ofAll(cluster, cluster.primaries, merges.sumOrAny);
  return (request) => {
    const { words } = request;
    let one = words.count === 3;
    for (let at = 2; at < words.count; at += 2)
      one ||= isWord(words, at, "id") || isWord(words, at, "addr") || isWord(words, at, "laddr");
    return one ? "pass" : everywhere(request);
  };
};

/** By a command's name: who takes it when several nodes may be concerned. */
export const spreads = (cluster: Cluster): ReadonlyMap<string, Handler> =>
  new Map([
    ...Object.entries(keyed).map(
      ([name, { width, merge }]) => [name, overKeys(cluster, name.toUpperCase(), width, merge)] as const,
    ),
    ...Object.entries(whole).map(([name, merge]) => [name, ofAll(cluster, cluster.primaries, merge)] as const),
    ...Object.entries(touched).map(([name, merge]) => [name, ofAll(cluster, cluster.open, merge)] as const),
    ["scan", scan(cluster)] as const,
    ["client|kill", kill(cluster)] as const,
  ]);

/** Over keys alone, which a transaction may contain. */
export const isOverKeys = (name: string): boolean => Object.hasOwn(keyed, name);
