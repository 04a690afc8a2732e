import { Failure } from "@sallyport/core/failure";
import type { Arrival, Gate } from "@sallyport/wire/protocol";
import { redis } from "@sallyport/wire/redis/redis";
import { afterEach, describe, expect, test } from "vitest";
import { failed, gateTo, grantFor, type Link, link, upstreamTo } from "../door.ts";
import { said } from "./said.ts";
import { serverOn, text, turns } from "./stand.ts";

const token = `sct_${"a1B2".repeat(11)}`;
const links: Link[] = [];
afterEach(() => {
  for (const { ours, theirs } of links.splice(0)) {
    ours.destroy();
    theirs.destroy();
  }
});

/** TLS is one byte, which it takes. */
const gate: Gate = {
  secure: async (socket) => {
    expect(socket.read(1)).toEqual(Buffer.of(0x16));
    return socket;
  },
  deadline: { start: () => {}, stop: () => {} },
};
const arrive = (...pieces: readonly (Buffer | string)[]): { near: Link; arrival: Promise<Arrival> } => {
  const near = link();
  links.push(near);
  near.theirs.write(Buffer.of(0x16));
  for (const piece of pieces) near.theirs.write(piece);
  const arrival = redis.accept(near.ours, gate);
  arrival.catch(() => {});
  return { near, arrival };
};
const askOf = async (arrival: Promise<Arrival>) => {
  const found = await arrival;
  if (!("ask" in found)) throw new Error("nobody asked");
  const { user, token: shown } = found.ask;
  return { user, token: shown?.reveal(), wanted: found.wanted };
};

describe("plain", () => {
  const logins: readonly (readonly [string, Buffer | string, object])[] = [
    ["AUTH token", said("AUTH", token), { user: undefined, token, wanted: { version: 2 } }],
    ["AUTH user token", said("auth", "ada", token), { user: "ada", token, wanted: { version: 2 } }],
    [
      "AUTH default token, as clients say it who were told no user",
      said("AUTH", "default", token),
      { user: undefined, token },
    ],
    ["AUTH inline", `AUTH ada ${token}\r\n`, { user: "ada", token }],
    ["HELLO 2", said("HELLO", "2", "AUTH", "ada", token), { user: "ada", token, wanted: { version: 2 } }],
    [
      "HELLO 3 with a name",
      said("HELLO", "3", "AUTH", "ada", token, "SETNAME", "worker-1"),
      { user: "ada", token, wanted: { version: 3, name: "worker-1" } },
    ],
    [
      "HELLO with the name first",
      said("HELLO", "3", "SETNAME", "me", "AUTH", "ada", token),
      { wanted: { version: 3, name: "me" } },
    ],
  ];
  for (const [what, bytes, wanted] of logins)
    test(`${what} asks to log in`, async () => {
      const { arrival } = arrive(bytes);
      expect(await askOf(arrival)).toMatchObject(wanted);
    });

  test("S-27 nothing passes before the login: every command is answered that it needs one", async () => {
    const early = [
      ["PING"],
      ["GET", "k"],
      ["MULTI"],
      ["SUBSCRIBE", "a"],
      ["COMMAND"],
      ["CLIENT", "ID"],
      ["EVAL", "x", "0"],
    ];
    const { near, arrival } = arrive(...early.map((words) => said(...words)), said("HELLO", "3"), "\r\nINFO\r\n");
    await turns();
    const lines = text(near).split("\r\n").slice(0, -1);
    expect(lines).toHaveLength(early.length + 2);
    for (const line of lines) expect(line).toMatch(/^-NOAUTH /);
    near.theirs.write(said("AUTH", token));
    expect((await askOf(arrival)).token).toBe(token);
  });

  test("S-27 what is pipelined behind the login stays unread until the relay has it", async () => {
    const { near, arrival } = arrive(Buffer.concat([said("AUTH", token), said("GET", "k"), said("SET", "k", "v")]));
    const found = await arrival;
    expect("ask" in found).toBe(true);
    expect(near.ours.read()).toEqual(Buffer.concat([said("GET", "k"), said("SET", "k", "v")]));
    expect(text(near)).toBe("");
  });

  test("any chunking of a login", async () => {
    const bytes = said("HELLO", "3", "AUTH", "ada", token);
    const { arrival } = arrive(...[...bytes.keys()].map((at) => bytes.subarray(at, at + 1)));
    expect(await askOf(arrival)).toMatchObject({ user: "ada", token });
  });

  const answered: readonly (readonly [Buffer, string])[] = [
    [said("HELLO", "4", "AUTH", "ada", token), "-NOPROTO unsupported protocol version\r\n"],
    [said("HELLO", "x"), "-ERR Protocol version is not an integer or out of range\r\n"],
    [said("HELLO", "3", "AUTH", "ada"), "-ERR Syntax error in HELLO\r\n"],
    [
      said("HELLO", "3", "AUTH", "ada", token, "SETNAME", "a b"),
      "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    ],
    [said("AUTH"), "-ERR wrong number of arguments for 'auth' command\r\n"],
    [said("AUTH", "a", "b", "c"), "-ERR syntax error\r\n"],
    [said("RESET"), "+RESET\r\n"],
  ];
  for (const [bytes, words] of answered)
    test(`what is no login is answered as Redis would: ${words.trim()}`, async () => {
      const { near, arrival } = arrive(bytes, said("AUTH", token));
      await arrival;
      await turns();
      expect(text(near)).toBe(words);
    });

  test("QUIT is answered and ends it; so does a client that leaves", async () => {
    const { near, arrival } = arrive(said("QUIT"), said("AUTH", token));
    expect(await arrival).toEqual({ probe: true });
    expect(text(near)).toBe("+OK\r\n");
    const left = arrive(said("PING"));
    left.near.theirs.end();
    expect(await left.arrival).toEqual({ probe: true });
  });

  const refused: readonly (readonly [string, readonly (Buffer | string)[], string, RegExp])[] = [
    ["an empty token", [said("AUTH", "ada", "")], "bad_token", /^-WRONGPASS a token is needed/],
    ["more arguments than a login has", ["*11\r\n"], "protocol", /unauthenticated multibulk length/],
    [
      "a longer argument than a login has",
      ["*2\r\n$4\r\nAUTH\r\n$20000\r\n"],
      "protocol",
      /unauthenticated bulk length/,
    ],
    ["a line that does not end", ["x".repeat(20_000)], "too_large", /^-ERR too many bytes before the login/],
    ["another protocol", ["*x\r\n"], "protocol", /^-ERR Protocol error: invalid multibulk length/],
  ];
  for (const [what, bytes, code, words] of refused)
    test(`S-27 ${what} is refused before the login`, async () => {
      const { near, arrival } = arrive(...bytes);
      expect((await failed(arrival)).code).toBe(code);
      expect(text(near)).toMatch(words);
      expect(text(near)).not.toContain(token);
    });

  test("a stranger who only asks is sent away", async () => {
    const { near, arrival } = arrive(...Array.from({ length: 40 }, () => said("PING")));
    expect((await failed(arrival)).code).toBe("not_logged_in");
    expect(text(near).match(/-NOAUTH/g)).toHaveLength(33);
  });

  test("S-21 without TLS nothing is taken, and it is said so", async () => {
    const near = link();
    links.push(near);
    near.theirs.write(said("AUTH", token));
    expect((await failed(redis.accept(near.ours, gate))).code).toBe("tls_required");
    expect(text(near)).toBe(
      "-ERR connections without TLS are not taken here (connect with --tls, or a rediss:// URL)\r\n",
    );
  });

  test("a refusal is in the words that clients know", async () => {
    const words = {
      bad_token: "-WRONGPASS ",
      denied: "-NOPERM ",
      too_many: "-ERR ",
      starting: "-LOADING ",
      upstream_unreachable: "-ERR ",
    } as const;
    for (const [code, prefix] of Object.entries(words)) {
      const near = link();
      links.push(near);
      await redis.refuse(
        { socket: near.ours, pending: "auth" },
        new Failure(code as keyof typeof words, "it is\r\n+OK so", { hint: "do this" }),
      );
      expect(text(near)).toBe(`${prefix}it is +OK so (do this)\r\n`);
    }
  });

  test("the welcome is OK to AUTH and the server's own words to HELLO", async () => {
    const [auth, hello, none] = [link(), link(), link()];
    links.push(auth, hello, none);
    const server = serverOn(link());
    const greeted = { ...server, node: { ...server.node, hello: Buffer.from("%1\r\n+proto\r\n:3\r\n") } };
    await redis.welcome({ socket: auth.ours, pending: "auth" }, greeted);
    await redis.welcome({ socket: hello.ours, pending: "hello" }, greeted);
    await redis.welcome({ socket: none.ours, pending: undefined }, greeted);
    await turns();
    expect([auth, hello, none].map(text)).toEqual(["+OK\r\n", "%1\r\n+proto\r\n:3\r\n", ""]);
  });
});

test("through the gate a session begins at once, as whom the token says, and knows what was dialled", async () => {
  const near = link();
  links.push(near);
  const { upstream } = upstreamTo(() => {});
  const arrived = gateTo([], { ask: { user: "ada" }, grant: grantFor({ user: "ada" }), upstream });
  const dialled = { host: "localhost", port: 6400 };
  const found = await redis.accept(near.ours, { ...arrived, dialled });
  expect(found).toMatchObject({
    ask: { user: "ada" },
    client: { pending: undefined },
    wanted: { version: 2, dialled },
  });
  expect(text(near)).toBe("");
});
