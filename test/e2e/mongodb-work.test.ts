// What becomes of sessions on DocumentDB: a failover, a lock, a role that may not be assumed, whose credentials log in, and what the
// audit says. Cursors that go on by themselves, checksums and other people's cursors, by hand, since no driver offers them here.
import { once } from "node:events";
import { connect } from "node:net";
import { message } from "@sallyport/wire/mongodb/message";
import { type Document, deserialize, Long } from "bson";
import { MongoClient, type MongoClientOptions } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { recordsOf } from "../contract/audit-sink.ts";
import { eventually } from "./attack.ts";
import { finding, mongoUrl } from "./clients/mongodb.ts";
import { openTunnelFor, type Place, type TunnelOf } from "./clients/way.ts";
import { bearerOf, database, openShelf, type Shelf } from "./mongodb-world.ts";
import { lock } from "./owner.ts";
import { plainly, type World } from "./world.ts";

let shelf: Shelf;
const undo: (() => Promise<unknown>)[] = [];
const people = new Map<string, Promise<Awaited<ReturnType<World["person"]>>>>();
const opened: MongoClient[] = [];

beforeAll(async () => {
  shelf = await openShelf();
  undo.push(() => shelf.close());
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close(true);
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

const personOf = (name: string) => {
  const known = people.get(name) ?? shelf.world.person(name, ["documents"]);
  people.set(name, known);
  return known;
};
const plain = async (person: string, over: { user?: string; database?: string } = {}): Promise<Place> =>
  plainly(shelf.world.laptop, await bearerOf(await personOf(person), over));
const openTunnelOf = async (person: string, over: { user?: string } = {}): Promise<TunnelOf> => {
  await personOf(person);
  const opened = await openTunnelFor(shelf.world, person, { database, user: "writer", name: "orders", ...over });
  undo.push(() => opened.close());
  return opened;
};
const tunnelled = async (person: string): Promise<Place> => {
  const { host, port } = (await openTunnelOf(person)).tunnel;
  return { host, port, user: "writer", database: "orders", password: "any" };
};
const open = (place: Place, options: MongoClientOptions = {}): MongoClient => {
  const client = new MongoClient(finding(mongoUrl(place)), { serverSelectionTimeoutMS: 10_000, ...options });
  opened.push(client);
  return client;
};
const linesOf = async (mark: string): Promise<readonly Readonly<Record<string, unknown>>[]> => {
  let lines: readonly Readonly<Record<string, unknown>>[] = [];
  await eventually("the lines are written", async () => {
    const all = recordsOf(await shelf.world.laptop.trail());
    const mine = all.find(({ collection }) => collection === mark);
    lines = all.filter(({ session }) => session === mine?.["session"]);
    return lines.some(({ type, command }) => type === "complete" && command === "delete");
  });
  return lines;
};

describe.each([
  ["plain", plain],
  ["tunnel", tunnelled],
] as const)("through the %s", (short, place) => {
  it("the audit shows each command, its database, its collection and its documents", async () => {
    const marked = open(await place(`ada-${short}`), { maxPoolSize: 1, appName: "the tests" })
      .db("orders")
      .collection<Document>(`marked-${short}`);
    await marked.insertMany([
      { _id: 1 as never, text: `first ${short}` },
      { _id: 2 as never, n: Long.fromString("9007199254740993") },
    ]);
    await marked.findOne({ text: `first ${short}` });
    await marked.deleteOne({ _id: 1 as never });
    const lines = await linesOf(`marked-${short}`);
    const about = { db: "orders", collection: `marked-${short}` };
    const text = JSON.stringify(lines);
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: "command", command: "insert", ...about }),
        expect.objectContaining({ type: "complete", command: "insert", rows: 2 }),
        expect.objectContaining({ type: "command", command: "find", ...about }),
        expect.objectContaining({ type: "command", command: "delete", ...about }),
      ]),
    );
    expect(text).toContain(`first ${short}`);
    expect(text).toContain("9007199254740993");
  });

  it("a lock cuts a live session with its reason, in MongoDB's words", async () => {
    const person = `lou-${short}`;
    const client = open(await place(person), { maxPoolSize: 1, retryReads: false });
    await client.db("orders").command({ ping: 1 });
    const held = shelf.server.hold("count");
    const waiting = client.db("orders").command({ count: "item" });
    const cut = expect(waiting).rejects.toMatchObject({
      code: 11_601,
      codeName: "Interrupted",
      message: expect.stringContaining(`for ${person}`),
    });
    await held.arrived;
    await lock(shelf.world, person, { user: person });
    await cut;
    held.release();
  });

  it("after a failover of the primary it goes on writing, at the new one", async () => {
    const client = open(await place(`flo-${short}`), { retryReads: true });
    const after = client.db("orders").collection<Document>(`failover-${short}`);
    await after.insertOne({ n: 1 });
    shelf.failover();
    // which connection is still the old writer's is told by the first command on it
    await eventually("it writes", () =>
      after.insertOne({ n: 2 }).then(
        () => true,
        () => false,
      ),
    );
    expect(await after.countDocuments({ n: 2 })).toBe(1);
  });
});

describe("connections", () => {
  it("one of a client's is one to the server, and its monitors are none", async () => {
    const before = shelf.connections();
    const client = open(await plain("cora"), { minPoolSize: 8, maxPoolSize: 8, heartbeatFrequencyMS: 500 });
    let made = 0;
    client.on("connectionCreated", () => {
      made += 1;
    });
    const item = client.db("orders").collection("item");
    await Promise.all(Array.from({ length: 200 }, (_, n) => item.findOne({ _id: (n + 1) as never })));
    expect(made).toBeGreaterThan(1);
    expect(shelf.connections() - before).toBeLessThanOrEqual(made);
  });

  it("S-04 a bearer token is good for twenty logins, and the next is refused with 18", async () => {
    const place = await plain("tally");
    const once = async (): Promise<unknown> => {
      const client = open(place, { maxPoolSize: 1, retryReads: false });
      return client.db("orders").command({ ping: 1 });
    };
    const outcomes = await Promise.allSettled(Array.from({ length: 23 }, once));
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
    expect(refused).toEqual(Array(3).fill(expect.objectContaining({ code: 18, codeName: "AuthenticationFailed" })));
  });
});

describe("whose credentials", () => {
  it("two people on one role never share them: each has a session of the role in their own name, which alone logs them in", async () => {
    for (const person of ["ana", "bo"]) {
      for (let count = 0; count < 2; count++) {
        const client = open(await plain(person), { maxPoolSize: 1 });
        await client.db("orders").command({ ping: 1 });
      }
    }
    const assumed = shelf.world.laptop.sts
      .assumptions()
      .filter(
        ({ roleArn, sessionName }) => roleArn === shelf.roleArn("writer") && /^sally-(ana|bo)$/.test(sessionName),
      );
    // at most once a login: what is kept for a person goes when anybody's access changes meanwhile
    expect(assumed.length).toBeLessThanOrEqual(4);
    expect([...new Set(assumed.map(({ sessionName }) => sessionName))].sort()).toEqual(["sally-ana", "sally-bo"]);
    expect(assumed.every(({ sessionName, sourceIdentity }) => sourceIdentity === sessionName)).toBe(true);
    expect(new Set(assumed.map(({ accessKeyId }) => accessKeyId)).size).toBe(assumed.length);
  });

  it("a role that may not be assumed: the client reads both halves of the trust, and the line that tries it", async () => {
    const client = open(await plain("ana", { user: "stranger" }));
    const error = await client
      .db("orders")
      .command({ ping: 1 })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 18, message: expect.stringContaining("AWS does not let us assume") });
    for (const words of ["needs {", "the trust policy of", "aws sts assume-role --role-arn"])
      expect((error as Error).message).toContain(words);
  });

  it("a role that is no user of the database: the client reads how an administrator makes it one", async () => {
    const client = open(await plain("ana", { user: "nobody" }));
    await expect(client.db("orders").command({ ping: 1 })).rejects.toMatchObject({
      code: 18,
      message: expect.stringMatching(/Authentication failed.*createUser/s),
    });
  });

  it("a name that is no role is refused before anything is asked of AWS", async () => {
    await expect(plain("ana", { user: "arn:aws:iam::999999999999:role/writer" })).rejects.toThrow(
      "expecting name or ARN of an AWS IAM role",
    );
  });
});

/** A connection by hand through a tunnel, where nobody logs in and nothing is encrypted again. */
const byHand = async ({ tunnel }: TunnelOf) => {
  const socket = connect(tunnel.port, tunnel.host);
  undo.push(async () => socket.destroy());
  await once(socket, "connect");
  let bytes = Buffer.alloc(0);
  const waiting: ((bytes: Buffer) => void)[] = [];
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 16 && bytes.length >= bytes.readInt32LE(0)) {
      waiting.shift()?.(bytes.subarray(0, bytes.readInt32LE(0)));
      bytes = bytes.subarray(bytes.readInt32LE(0));
    }
  });
  const next = (): Promise<Buffer> => new Promise((resolve) => void waiting.push(resolve));
  const ask = (document: Document, flags = 0): void => {
    const request = message(document, { requestId: 7 });
    request.writeUInt32LE(flags, 16);
    socket.write(request);
  };
  const answer = (whole: Buffer) => ({ flags: whole.readUInt32LE(16), said: deserialize(whole.subarray(21)) });
  return { next, ask, answer };
};

describe("cursors by hand", () => {
  const exhaustAllowed = 0x1_0000;
  const moreToCome = 2;
  const find = { find: "item", sort: { _id: 1 }, batchSize: 100, $db: "orders" };

  it("one that goes on by itself brings all its batches for one request", async () => {
    const { next, ask, answer } = await byHand(await openTunnelOf("eve"));
    const first = next();
    ask(find);
    const { cursor } = answer(await first).said;
    let count = cursor.firstBatch.length as number;
    const batches = Array.from({ length: 9 }, next);
    ask({ getMore: cursor.id, collection: "item", batchSize: 100, $db: "orders" }, exhaustAllowed);
    const flags: number[] = [];
    for (const batch of batches) {
      const one = answer(await batch);
      flags.push(one.flags & moreToCome);
      count += one.said["cursor"].nextBatch.length as number;
    }
    expect([count, flags]).toEqual([1_000, [...Array(8).fill(moreToCome), 0]]);
    const after = next();
    ask({ ping: 1, $db: "orders" });
    expect(answer(await after).said).toMatchObject({ ok: 1 });
  });

  it("S-05 another person's is not found, though both log in as one role", async () => {
    const [mine, theirs] = [await byHand(await openTunnelOf("eve")), await byHand(await openTunnelOf("mallory"))];
    const opening = mine.next();
    mine.ask(find);
    const { id } = mine.answer(await opening).said["cursor"];
    for (const stolen of [
      { getMore: id, collection: "item", $db: "orders" },
      { killCursors: "item", cursors: [id], $db: "orders" },
    ]) {
      const refused = theirs.next();
      theirs.ask(stolen);
      expect(theirs.answer(await refused).said).toMatchObject({ ok: 0, code: 43, codeName: "CursorNotFound" });
    }
    const still = mine.next();
    mine.ask({ getMore: id, collection: "item", batchSize: 5, $db: "orders" });
    expect(mine.answer(await still).said["cursor"].nextBatch).toHaveLength(5);
  });
});

it("nothing went wrong in the proxy meanwhile", () => {
  const lines = shelf.world.proxies[0]!.log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
