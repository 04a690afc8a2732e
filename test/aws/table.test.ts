import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { openTable, tableClient, tableKey } from "@sallyport/aws/table";
import { Failure } from "@sallyport/core/failure";
import type { Change, Store } from "@sallyport/core/ports";
import { type Dynoxide, startDynoxide } from "@sallyport/local/dynoxide";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf, describeStore } from "../contract/store.ts";
import { openFakeStore } from "../fakes/store.ts";

const name = "sallyport-contract";
const keys = async () => ({ accessKeyId: "test", secretAccessKey: "test" });
const clientAt = (url: string) => tableClient({ region: "eu-west-1", endpoint: url, keys });
let server: Dynoxide;
let client: ReturnType<typeof clientAt>;

beforeAll(async () => {
  server = await startDynoxide();
  client = clientAt(`http://${server.host}:${server.port}`);
  await client.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [
        { AttributeName: tableKey.partition, KeyType: "HASH" },
        { AttributeName: tableKey.sort, KeyType: "RANGE" },
      ],
      AttributeDefinitions: [tableKey.partition, tableKey.sort].map((AttributeName) => ({
        AttributeName,
        AttributeType: "S" as const,
      })),
    }),
  );
});
afterAll(async () => {
  client?.destroy();
  await server?.close();
});

describeStore("the table", () => openTable({ name, client }));

describe("the table and the fake", () => {
  const attribute = fc.constantFrom("a", "n", "v", "x.y", "#n0", ":v0", "size", "if_not_exists(pk)");
  const scalar = fc.oneof(fc.constantFrom("", "x", "1"), fc.integer({ min: -3, max: 3 }), fc.boolean());
  const counters = fc.dictionary(fc.constantFrom("n", "m"), fc.integer({ min: -2, max: 3 }), { maxKeys: 2 });
  const condition = fc.record(
    {
      absent: fc.constant(true as const),
      present: fc.constant(true as const),
      equals: fc.dictionary(attribute, scalar, { maxKeys: 2 }),
      below: counters,
    },
    { requiredKeys: [] },
  );
  const sort = fc.constantFrom("1", "2", "3");
  const conditional = { if: fc.option(condition, { nil: {}, freq: 3 }) };
  const change = (pk: string) => {
    const at = sort.map((sk) => ({ pk, sk }));
    const value = fc.record({ s: scalar, n: fc.integer({ min: 0, max: 3 }) }, { requiredKeys: [] });
    const item = fc.tuple(at, value).map(([of, more]) => ({ ...more, ...of, v: 1 }));
    const set = fc.dictionary(fc.constantFrom("a", "x.y", "#n0", "size"), scalar, { maxKeys: 2 });
    return fc.oneof(
      fc.record({ put: item, ...conditional }),
      fc.record({ update: at, set, add: counters, ...conditional }),
      fc.record({ remove: at, ...conditional }),
    ) as fc.Arbitrary<Change>;
  };

  it("answer alike whatever is asked of them", async () => {
    const fake = openFakeStore();
    const real = openTable({ name, client });
    let count = 0;
    const outcome = async (ask: () => Promise<unknown>) => {
      try {
        return await ask();
      } catch (thrown) {
        return thrown instanceof Failure ? thrown.code : String(thrown);
      }
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change("PK"), { minLength: 1, maxLength: 3 }), { maxLength: 8 }),
        async (steps) => {
          const pk = `parity#${++count}`;
          const here = JSON.parse(JSON.stringify(steps).replaceAll('"PK"', JSON.stringify(pk))) as Change[][];
          for (const changes of here) {
            const [first] = changes;
            const ask = (store: Store) => () =>
              changes.length === 1 && first ? store.write(first) : store.transact(changes);
            expect(await outcome(ask(real))).toEqual(await outcome(ask(fake)));
          }
          expect((await real.list(pk)).items).toEqual((await fake.list(pk)).items);
        },
      ),
      { numRuns: 150 },
    );
  }, 30_000);
});

interface Answer {
  readonly status: number;
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A DynamoDB that passes requests on and does as told with the answers. */
const between = async (
  decide: (target: string, count: number, headers: IncomingMessage["headers"]) => "pass" | "lose" | Answer,
) => {
  let count = 0;
  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const verdict = decide(String(incoming.headers["x-amz-target"]).split(".")[1] ?? "", ++count, incoming.headers);
    if (typeof verdict === "object") {
      outgoing.writeHead(verdict.status, { "content-type": "application/x-amz-json-1.0", ...verdict.headers });
      outgoing.end(typeof verdict.body === "string" ? verdict.body : JSON.stringify(verdict.body));
      return;
    }
    const headers = Object.fromEntries(
      ["x-amz-target", "content-type", "authorization", "x-amz-date"].map((header) => [
        header,
        String(incoming.headers[header]),
      ]),
    );
    const real = await fetch(`http://${server.host}:${server.port}`, {
      method: "POST",
      headers,
      body: Buffer.concat(chunks),
    });
    const body = await real.text();
    if (verdict === "lose") outgoing.destroy();
    else outgoing.writeHead(real.status, { "content-type": "application/x-amz-json-1.0" }).end(body);
  };
  const front = createServer((incoming, outgoing) => void answer(incoming, outgoing));
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const passing = clientAt(`http://127.0.0.1:${(front.address() as AddressInfo).port}`);
  return {
    store: openTable({ name, client: passing }),
    count: () => count,
    async [Symbol.asyncDispose]() {
      passing.destroy();
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
    },
  };
};
const error = (type: string, more: object = {}) => ({
  status: 400,
  body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "on purpose", ...more },
});
const key = (sk: string) => ({ pk: "fault#", sk });

describe("the table under faults", () => {
  it("a put whose answer was lost is not a conflict with itself", async () => {
    await using front = await between((target, count) => (target === "PutItem" && count === 1 ? "lose" : "pass"));
    await front.store.write({ put: { ...key("lost"), v: 1, n: [1] }, if: { absent: true } });
    expect(front.count()).toBeGreaterThan(1);
    expect(await codeOf(front.store.write({ put: { ...key("lost"), v: 1 }, if: { absent: true } }))).toBe("conflict");
  });

  it("a transaction whose answer was lost happens once", async () => {
    await using front = await between((_, count) => (count === 1 ? "lose" : "pass"));
    const change = { update: key("once"), add: { n: 1 } };
    await front.store.transact([change, { put: { ...key("beside"), v: 1 } }]);
    expect((await front.store.get(key("once")))?.["n"]).toBe(1);
  });

  it("an answer that is none never says that there is no such item", async () => {
    await openTable({ name, client }).write({ put: { ...key("there"), v: 1 } });
    await using once = await between((_, count) => (count === 1 ? { status: 200, body: '{"Item' } : "pass"));
    expect(await once.store.get(key("there"))).toEqual({ ...key("there"), v: 1 });
    await using always = await between(() => ({ status: 200, body: "" }));
    expect(await codeOf(always.store.get(key("there")))).toBe("unavailable");
    await using gateway = await between(() => ({ status: 503, body: "<html>busy</html>" }));
    expect(await codeOf(gateway.store.get(key("there")))).toBe("unavailable");
  });

  it("a clock that is wrong by hours is put right by what the table says", async () => {
    const theirs = Date.now() + 3 * 3_600_000;
    const seen: number[] = [];
    await using front = await between((_target, _count, headers) => {
      const signedAt = String(headers["x-amz-date"]).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
      const apart = Math.abs(Date.parse(signedAt) - theirs);
      seen.push(apart);
      return apart < 5 * 60_000
        ? "pass"
        : { ...error("InvalidSignatureException"), headers: { date: new Date(theirs).toUTCString() } };
    });
    expect(await front.store.get(key("nothing"))).toBeUndefined();
    expect(await front.store.get(key("nothing"))).toBeUndefined();
    expect(seen.map((apart) => apart > 5 * 60_000)).toEqual([true, false, false]);
  });

  it("throttling is waited out", async () => {
    await using front = await between((_, count) =>
      count < 3 ? error("ProvisionedThroughputExceededException") : "pass",
    );
    expect(await front.store.get(key("nothing"))).toBeUndefined();
  });

  it("another transaction in the way is waited out, and is never a conflict", async () => {
    const reasons = { CancellationReasons: [{ Code: "TransactionConflict" }, { Code: "None" }] };
    await using front = await between((target, count) =>
      count > 2
        ? "pass"
        : target === "UpdateItem"
          ? error("TransactionConflictException")
          : error("TransactionCanceledException", reasons),
    );
    await front.store.transact([{ update: key("busy"), add: { n: 1 } }, { put: { ...key("busy2"), v: 1 } }]);
    expect((await front.store.get(key("busy")))?.["n"]).toBe(1);
    await using always = await between(() => error("TransactionCanceledException", reasons));
    expect(await codeOf(always.store.transact([{ remove: key("a") }, { remove: key("b") }]))).toBe("unavailable");
  });

  it("keys left over from a batch are asked for again, and an answer that stays partial is an error", async () => {
    const partial = (left: object) => ({ status: 200, body: { Responses: {}, UnprocessedKeys: left } });
    const left = { [name]: { Keys: [{ pk: { S: "fault#" }, sk: { S: "left" } }] } };
    await using front = await between((target, count) =>
      target === "BatchGetItem" && count < 3 ? partial(left) : "pass",
    );
    await using never = await between(() => partial(left));
    await openTable({ name, client }).write({ put: { ...key("left"), v: 1 } });
    expect(await front.store.getMany([key("left")])).toEqual([{ ...key("left"), v: 1 }]);
    expect(await codeOf(never.store.getMany([key("left")]))).toBe("unavailable");
  });

  it.each([
    ["no permission", error("AccessDeniedException"), "lacks a permission"],
    ["no such table", error("ResourceNotFoundException"), "whether it exists"],
    ["an item that is too large", error("ValidationException"), "ValidationException"],
  ])("%s is unavailable; the table and the cause are for the log alone", async (_, verdict, told) => {
    await using front = await between(() => verdict);
    await expect(front.store.get(key("x"))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.not.stringContaining(name),
      hint: expect.stringContaining("try again"),
      cause: expect.objectContaining({
        message: expect.stringMatching(new RegExp(`${name}.*${told}`)),
        cause: expect.objectContaining({ message: "on purpose" }),
      }),
    });
  });

  it("a table that is not there or does not answer is unavailable, soon", async () => {
    const silent = new Set<Socket>();
    const deaf = createTcp((socket) => void silent.add(socket.on("error", () => undefined)));
    await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
    const { port } = deaf.address() as AddressInfo;
    const { DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
    const { clientOptions } = await import("@sallyport/aws/client");
    const quick = new DynamoDBClient(
      clientOptions(
        { region: "eu-west-1", endpoint: `http://127.0.0.1:${port}`, keys },
        { requestFor: 50, attempts: 2 },
      ),
    );
    expect(await codeOf(openTable({ name, client: quick }).get(key("x")))).toBe("unavailable");
    for (const socket of silent) socket.destroy();
    await new Promise((resolve) => deaf.close(resolve));
    expect(await codeOf(openTable({ name, client: quick }).get(key("x")))).toBe("unavailable");
    quick.destroy();
  });
});
