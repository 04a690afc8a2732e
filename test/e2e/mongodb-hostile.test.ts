// Whoever comes to MongoDB's port without being one of its clients, or being a bad one: each is sent away in words that it
// understands or in none, reaches no database, and takes nothing from the others. On a whole proxy, over its real ports.
import { once } from "node:events";
import { connect } from "node:net";
import { connect as secure, type TLSSocket } from "node:tls";
import { message, parseHeader, query } from "@sallyport/wire/mongodb/message";
import { deserialize } from "bson";
import { MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually, heard, throwAt } from "./attack.ts";
import { mongoUrl } from "./clients/mongodb.ts";
import { bearerOf, openShelf, type Shelf } from "./mongodb-world.ts";
import { plainly, type World } from "./world.ts";

let shelf: Shelf;
let ana: Awaited<ReturnType<World["person"]>>;
beforeAll(async () => {
  shelf = await openShelf();
  ana = await shelf.world.person("ana", ["documents"]);
});
afterAll(() => shelf?.close());

const works = async (): Promise<void> => {
  const client = new MongoClient(mongoUrl(plainly(shelf.world.laptop, await bearerOf(ana))));
  try {
    expect(await client.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
  } finally {
    await client.close();
  }
};
const door = () => ({ host: "127.0.0.1", port: shelf.world.laptop.ports.mongodb });
const dial = async (): Promise<TLSSocket> => {
  const { ca } = plainly(shelf.world.laptop, await bearerOf(ana));
  const socket = secure({ ...door(), servername: "localhost", ca });
  await once(socket, "secureConnect");
  return socket.on("error", () => {});
};

describe("S-24 what is no client of MongoDB's", () => {
  it.each([
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    ["SSH", Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")],
    ["Redis", Buffer.from("*1\r\n$4\r\nPING\r\n")],
    ["PostgreSQL", Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])],
  ])("S-24 %s is closed on, and others are served", async (_, bytes) => {
    const before = shelf.connections();
    const socket = connect(door());
    await once(socket, "connect");
    socket.end(bytes);
    await heard(socket);
    expect(shelf.connections()).toBe(before);
    await works();
  });
});

describe("before the login", () => {
  const bent = (change: (bytes: Buffer) => void, of = message({ ping: 1, $db: "admin" }, { requestId: 1 })): Buffer => {
    const bytes = Buffer.from(of);
    change(bytes);
    return bytes;
  };
  it.each([
    ["S-28 OP_COMPRESSED", bent((bytes) => bytes.writeInt32LE(2012, 12))],
    ["S-28 OP_INSERT", bent((bytes) => bytes.writeInt32LE(2002, 12))],
    ["S-28 OP_KILL_CURSORS", bent((bytes) => bytes.writeInt32LE(2007, 12))],
    [
      "S-28 OP_QUERY on a collection",
      bent((bytes) => bytes.write("orders.item", 20, "latin1"), query({ find: "item" }, 1)),
    ],
    ["S-23 a message of 2 GiB", bent((bytes) => bytes.writeInt32LE(0x7fff_ffff, 0))],
    ["S-23 a negative length", bent((bytes) => bytes.writeInt32LE(-1, 0))],
    ["S-23 a length of nothing", bent((bytes) => bytes.writeInt32LE(0, 0))],
    ["S-23 a body with a negative length", bent((bytes) => bytes.writeInt32LE(-5, 21))],
    ["S-30 a command that needs a login", message({ find: "item", $db: "orders" }, { requestId: 1 })],
  ])("%s ends the connection, and reaches no database", async (_, bytes) => {
    const before = shelf.connections();
    const socket = await dial();
    let said = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      said = Buffer.concat([said, chunk]);
    });
    const closed = once(socket, "close");
    socket.write(bytes);
    await closed;
    if (said.length > 0) {
      const { opcode } = parseHeader(said);
      expect(deserialize(said.subarray(opcode === 1 ? 36 : 21))).toMatchObject({ ok: 0, code: expect.any(Number) });
    }
    expect(shelf.connections()).toBe(before);
    await works();
  });

  it("S-20 what is sent in clear before TLS is never taken for what comes inside", async () => {
    const before = shelf.connections();
    const hello = query({ isMaster: 1, helloOk: true }, 1);
    const { text } = await throwAt(door(), hello);
    expect(text).toContain("tls=true");
    expect(shelf.connections()).toBe(before);
    await works();
  });
});

describe("a server that is not what it should be", () => {
  const front = () => shelf.fronts[0]!;
  afterEach(() => front().misbehave());
  const failing = async (): Promise<{ readonly code?: number; readonly message: string }> => {
    const client = new MongoClient(mongoUrl(plainly(shelf.world.laptop, await bearerOf(ana))), { retryReads: false });
    try {
      await client.db("orders").command({ find: "item" });
      return { message: "no error" };
    } catch (thrown) {
      return thrown as { code?: number; message: string };
    } finally {
      await client.close();
    }
  };
  it("S-33 shows somebody else's certificate", async () => {
    await front().misbehave({ is: "impostor", identity: await shelf.world.laptop.authority.issue(["localhost"]) });
    expect((await failing()).message).toMatch(/trust|certificate/);
    await front().misbehave();
    await works();
  });
  it.each([
    "sts.evil.example.com",
    "sts.amazonaws.com.evil.example",
    "sts.eu-west-1.amazonaws.com.",
    "169.254.169.254",
  ])("S-35 wants a signature for %s", async (host) => {
    await front().misbehave({ is: "luring", host });
    const { message: words } = await failing();
    expect(words).toContain("wants a signature for");
    await front().misbehave();
    await works();
  });
  it("S-33 goes in the middle of an answer", async () => {
    await front().misbehave({ is: "cutting", afterBytes: 3_000 });
    expect((await failing()).message).not.toBe("no error");
    await front().misbehave();
    await eventually("it works again", () => works().then(() => true));
  });
});
