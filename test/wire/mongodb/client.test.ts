import type { Credential, Proof } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { isSts } from "@sallyport/wire/mongodb/client";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import { Binary, type Document, deserialize, serialize } from "bson";
import { describe, expect, test } from "vitest";
import { clear, failed, grantFor, type Link, type Stage, upstreamTo } from "../door.ts";
import { doc, i32, messages, packet, reply } from "./bytes.ts";

const role = "arn:aws:iam::123456789012:role/reader";
const proof: Proof = {
  authorization: "AWS4-HMAC-SHA256 …",
  date: "20261121T000000Z",
  sessionToken: secret("session-token"),
};
interface Signed {
  readonly nonce: Buffer;
  readonly host: string;
}
const awsWith = (signed: Signed[]): Credential => ({
  as: "aws",
  user: role,
  sign: async (nonce, host) => {
    signed.push({ nonce: Buffer.from(nonce), host });
    return proof;
  },
});
const hello: Document = {
  ismaster: true,
  maxWireVersion: 17,
  maxBsonObjectSize: 8_000_000,
  maxMessageSizeBytes: 99_000_000,
  ok: 1,
};
const opReply = (to: number, document: Document): Buffer =>
  packet(1, { to }, i32(8), i32(0), i32(0), i32(0), i32(1), doc(document));

type Answer = (document: Document, id: number) => Buffer | undefined;
const rest = Buffer.alloc(32, 7);
const nonceIn = ({ payload }: Document): Buffer =>
  Buffer.from((deserialize((payload as Binary).buffer)["r"] as Binary).buffer);
const challenge = (document: Document, over: Document = {}): Document => {
  const s = new Binary(Buffer.concat([nonceIn(document), rest]));
  const payload = new Binary(serialize({ s, h: "sts.eu-west-1.amazonaws.com", ...over }));
  return { conversationId: 42, done: false, payload, ok: 1 };
};
const usual: Answer = (document, id) => {
  if ("isMaster" in document) return opReply(id, hello);
  if ("saslStart" in document) return reply(id, challenge(document));
  if ("saslContinue" in document)
    return reply(id, { conversationId: 42, done: true, payload: new Binary(Buffer.alloc(0)), ok: 1 });
  return reply(id, { ok: 1 });
};
const serve = (answer: Answer, credential: Credential): Stage =>
  upstreamTo((made: Link) => {
    let seen = 0;
    made.theirs.on("data", () => {
      const all = messages(made.received());
      for (const { document, id } of all.slice(seen)) {
        const said = answer(document, id);
        if (said) made.theirs.write(said);
      }
      seen = all.length;
    });
  }, credential);
const loginTo = async (answer: Answer, credential?: Credential) => {
  const signed: Signed[] = [];
  const stage = serve(answer, credential ?? awsWith(signed));
  const login = mongodb.login(stage.upstream, grantFor(), { application: "the app" });
  return { signed, stage, login };
};

test("TLS first, then hello, then a signed nonce: the login that MONGODB-AWS is", async () => {
  const { signed, stage, login } = await loginTo(usual);
  const server = await login;
  expect(stage.log).toEqual(["tcp 10.0.0.7", "secure", "credential"]);
  const said = messages(stage.dialled[0]?.received() ?? Buffer.alloc(0));
  expect(said.map(({ document }) => Object.keys(document)[0])).toEqual(["isMaster", "saslStart", "saslContinue"]);
  const [greeting = {}, start = {}, end = {}] = said.map(({ document }) => document);
  expect(greeting).toMatchObject({ helloOk: true, client: { driver: { name: "sallyport" } } });
  expect(String(greeting["client"].application.name)).toMatch(/^the app sallyport-[0-9a-f]{24}$/);
  expect(start).toMatchObject({ mechanism: "MONGODB-AWS", $db: "$external" });
  const opening = deserialize((start["payload"] as Binary).buffer);
  expect(opening["p"]).toBe(110);
  expect((opening["r"] as Binary).length()).toBe(32);
  expect(signed).toEqual([{ nonce: Buffer.concat([nonceIn(start), rest]), host: "sts.eu-west-1.amazonaws.com" }]);
  expect(end).toMatchObject({ conversationId: 42, $db: "$external" });
  expect(deserialize((end["payload"] as Binary).buffer)).toEqual({
    ...{ a: proof.authorization, d: proof.date, t: "session-token" },
  });
  // more than passes here is not promised
  expect(server.limits).toMatchObject({
    maxWireVersion: 17,
    maxBsonObjectSize: 8_000_000,
    maxMessageSizeBytes: 48_000_000,
  });
  server.socket.destroy();
});

describe("S-35 whom a signature may be for", () => {
  test.each([
    "sts.amazonaws.com",
    "sts.eu-west-1.amazonaws.com",
    "sts.us-gov-west-1.amazonaws.com",
    "sts.cn-north-1.amazonaws.com.cn",
    "sts.ap-southeast-2.amazonaws.com",
  ])("%s", (host) => expect(isSts(host)).toBe(true));
  const others = [
    ...["sts.amazonaws.com.evil.example", "sts.evil.amazonaws.com", "evil.sts.amazonaws.com", "sts.amazonaws.com."],
    ...[
      "sts.amazonaws.com.cn",
      "STS.amazonaws.com",
      "sts.eu-west-1.amazonaws.com:443",
      "sts.eu-west-1.amazonaws.com/x",
    ],
    ...["sts-eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com", "169.254.169.254", "127.0.0.1", "localhost", ""],
    ...[
      "sts.eu-west-1.amazonaws.com\nx",
      "sts..amazonaws.com",
      "sts.eu-west-1.evil.com",
      "sts.eu-west-1.amazonaws.com\0",
    ],
    "x".repeat(300),
  ];
  test.each(others)("not %j", async (host) => {
    expect(isSts(host)).toBe(false);
    const { signed, stage, login } = await loginTo((document, id) =>
      "saslStart" in document ? reply(id, challenge(document, { h: host })) : usual(document, id),
    );
    expect((await failed(login)).code).toBe("upstream_refused");
    expect(signed).toEqual([]);
    expect(stage.dialled[0]?.ours.destroyed).toBe(true);
  });
});

describe("S-33 a server that lies gets no signature", () => {
  const start =
    (make: (document: Document) => Document): Answer =>
    (document, id) =>
      "saslStart" in document ? reply(id, make(document)) : usual(document, id);
  const raw =
    (make: (id: number) => Buffer): Answer =>
    (document, id) =>
      "saslStart" in document ? make(id) : usual(document, id);
  test.each<[string, Answer]>([
    ["a nonce of another", start((document) => challenge(document, { s: new Binary(Buffer.alloc(64)) }))],
    ["a nonce that is short", start((document) => challenge(document, { s: new Binary(nonceIn(document)) }))],
    [
      "a nonce that is long",
      start((document) => challenge(document, { s: new Binary(Buffer.concat([nonceIn(document), Buffer.alloc(33)])) })),
    ],
    ["no nonce", start((document) => challenge(document, { s: "text" }))],
    ["no host", start((document) => challenge(document, { h: 7 }))],
    ["no payload", start(() => ({ conversationId: 1, done: false, ok: 1 }))],
    ["a payload that is no BSON", start(() => ({ done: false, payload: new Binary(Buffer.from("words")), ok: 1 }))],
    ["done before anything was shown", start((document) => ({ ...challenge(document), done: true }))],
    ["an answer to something else", raw(() => reply(99, { ok: 1 }))],
    ["a length of -1", raw((id) => packet(2013, { to: id, length: -1 }, i32(0)))],
    ["a length of 2^31-1", raw((id) => packet(2013, { to: id, length: 0x7fff_ffff }, i32(0)))],
    ["more than 64 KiB", raw((id) => reply(id, { ok: 1, text: "x".repeat(70_000) }))],
    ["a compressed answer", raw((id) => packet(2012, { to: id }, i32(2013), i32(9), 2, "compressed"))],
    ["HTTP", raw(() => Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"))],
    ["a first answer that is refused", (_, id) => opReply(id, { ok: 0, errmsg: "no", code: 18 })],
  ])("%s", async (_, answer) => {
    const { signed, stage, login } = await loginTo(answer);
    expect((await failed(login)).code).toBe("upstream_refused");
    expect(signed).toEqual([]);
    expect(stage.dialled[0]?.ours.destroyed).toBe(true);
  });

  test("that a login is not done after its last step is no login", async () => {
    const { login } = await loginTo((document, id) =>
      "saslContinue" in document
        ? reply(id, { done: false, payload: new Binary(Buffer.alloc(0)), ok: 1 })
        : usual(document, id),
    );
    expect((await failed(login)).code).toBe("upstream_refused");
  });
});

test("a role that is no user is refused with the words that make it one", async () => {
  const { login } = await loginTo((document, id) =>
    "saslContinue" in document
      ? reply(id, { ok: 0, errmsg: "Authentication failed.", code: 18, codeName: "AuthenticationFailed" })
      : usual(document, id),
  );
  const { code, message, hint } = await failed(login);
  expect({ code, message }).toEqual({ code: "upstream_refused", message: "Authentication failed." });
  expect(hint).toContain(`createUser({user: "${role}", mechanisms: ["MONGODB-AWS"]`);
});

test("a credential that can't be had is said as it is, and a password is never sent", async () => {
  const broken: Credential = {
    as: "aws",
    user: role,
    sign: () => Promise.reject(new Failure("denied", "AWS does not let us assume it")),
  };
  expect((await failed((await loginTo(usual, broken)).login)).code).toBe("denied");
  const { stage, login } = await loginTo(usual, clear("reader", "canary"));
  expect((await failed(login)).code).toBe("internal");
  expect(stage.dialled[0]?.received().includes("canary")).toBe(false);
});

test("a cancel ends what runs under the session's own name, and nothing else", async () => {
  const { stage, login } = await loginTo(usual);
  const server = await login;
  const killed: unknown[] = [];
  const again = serve((document, id) => {
    if ("currentOp" in document)
      return reply(id, {
        inprog: [
          { opid: 7, appName: "somebody else" },
          { opid: 9, appName: server.application },
        ],
        ok: 1,
      });
    if ("killOp" in document) killed.push(document["op"]);
    return usual(document, id);
  }, awsWith([]));
  await mongodb.cancel(server, again.upstream);
  expect(killed).toEqual([9]);
  expect(again.dialled.every(({ ours }) => ours.destroyed)).toBe(true);
  expect(stage.dialled[0]?.ours.destroyed).toBe(false);
  server.socket.destroy();
});

test("a command runs, and a refusal leaves the connection good", async () => {
  const { login } = await loginTo((document, id) =>
    "nope" in document ? reply(id, { ok: 0, errmsg: "no such command", code: 59 }) : usual(document, id),
  );
  const server = await login;
  expect(await mongodb.run(server, '{"ping": 1, "$db": "admin"}')).toEqual([['{"ok":1}']]);
  expect((await failed(mongodb.run(server, '{"nope": 1, "$db": "admin"}'))).message).toBe("no such command");
  expect(await mongodb.run(server, '{"ping": 1, "$db": "admin"}')).toEqual([['{"ok":1}']]);
  server.socket.destroy();
});
