// What strangers say at a PostgreSQL and a Redis port and at the gate: valid handshakes mutated, cut short, blown up; other protocols;
// noise. All of it follows from a seed, so that what once went wrong can be looked at again.
import { once } from "node:events";
import { duplexPair } from "node:stream";
import { connect } from "node:tls";
import { gssRequest, message, packet, sslRequest, startup } from "../local/postgres-bytes.ts";
import { said } from "../wire/redis/said.ts";

export interface Chance {
  /** Below `limit`, at least 0. */
  below(limit: number): number;
  bytes(length: number): Buffer;
  pick<T>(from: readonly T[]): T;
}

/** mulberry32: small, fast, and the same everywhere. */
export const chanceOf = (seed: number): Chance => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    bytes: (length) => Buffer.from(Array.from({ length }, () => below(256))),
    pick: (from) => from[below(from.length)] as (typeof from)[number],
  };
};

/** How far a stranger goes before the bytes: nowhere, or into TLS by one of the ways there are. */
export type Inside = "clear" | "sslrequest" | "direct" | "tls" | "gate";
export interface Knock {
  readonly family: string;
  readonly port: "postgres" | "redis" | "gate";
  readonly inside: Inside;
  readonly bytes: Buffer;
}

export interface Words {
  /** A token of the right form that nobody issued. */
  readonly fake: string;
  /** One that is good for a login, which no stranger may have by shape alone. */
  readonly real: string;
  readonly clientHellos: readonly Buffer[];
}

/** The first bytes of real TLS clients. */
export const recordClientHellos = (): Promise<readonly Buffer[]> =>
  Promise.all(
    [[], ["postgresql"], ["sallyport/1"], ["http/1.1"]].map(async (ALPNProtocols) => {
      const [near, far] = duplexPair();
      const client = connect({ socket: near, ALPNProtocols, servername: "localhost" }).on("error", () => {});
      const [hello] = (await once(far, "data")) as [Buffer];
      client.destroy();
      return hello;
    }),
  );

const foreign = [
  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "SSH-2.0-OpenSSH_9.9\r\n",
  "*1\r\n$4\r\nPING\r\n",
  "EHLO example.com\r\n",
  "\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0", // RDP
  "\x05\x02\0\x02", // SOCKS
  "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
  "\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff", // MongoDB
].map((text) => Buffer.from(text, "latin1"));

const mutate = (chance: Chance, bytes: Buffer): Buffer => {
  let mutated: Buffer = Buffer.from(bytes);
  for (let times = 1 + chance.below(4); times > 0; times--) {
    const at = chance.below(mutated.length);
    const [before, after] = [mutated.subarray(0, at), mutated.subarray(at)];
    const change: (() => Buffer)[] = [
      () => Buffer.concat([before, Buffer.from([(after[0] ?? 0) ^ (1 << chance.below(8))]), after.subarray(1)]),
      () => Buffer.concat([before, chance.bytes(1 + chance.below(8)), after]),
      () => Buffer.concat([before, after.subarray(1 + chance.below(8))]),
      () => Buffer.concat([before, after, after]),
      () => Buffer.concat([before, Buffer.from([chance.pick([0, 0x7f, 0x80, 0xff])]), after.subarray(1)]),
    ];
    mutated = chance.pick(change)();
    if (mutated.length === 0) return Buffer.from([0]);
  }
  return mutated;
};

/** A number where a length belongs that is at some edge. */
const edge = (chance: Chance): number =>
  chance.pick([0, 1, 3, 4, 7, 8, 9, 10_000, 10_001, 16_384, 16_385, 65_536, 2 ** 24, 2 ** 31 - 1, -1, -(2 ** 31)]);

const lengthened = (chance: Chance, bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.concat([bytes, chance.bytes(chance.below(40_000))]);
  changed.writeInt32BE(edge(chance), at);
  return changed;
};

type Family = (chance: Chance, words: Words) => Buffer;

const login = (token: string): readonly Buffer[] => [
  startup(0x30000, "user", "reader", "database", "orders", "application_name", "x"),
  message("p", `${token}\0`),
];
const valid: Family = (chance, { fake }) =>
  Buffer.concat([...login(fake), ...(chance.below(2) ? [message("Q", "select 1\0"), message("X", "")] : [])]);

/** What may come in clear and inside TLS. */
const families: Readonly<Record<string, Family>> = {
  noise: (chance) => chance.bytes(1 + chance.below(chance.pick([8, 300, 20_000]))),
  foreign: (chance) => chance.pick(foreign),
  mutated: (chance, words) => mutate(chance, valid(chance, words)),
  "cut short": (chance, words) => {
    const whole = valid(chance, words);
    return whole.subarray(0, 1 + chance.below(whole.length - 1));
  },
  "long startup": (chance, words) => lengthened(chance, valid(chance, words), 0),
  "long password": (chance, { fake }) => {
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = login(fake);
    return Buffer.concat([first, lengthened(chance, second, 1)]);
  },
  "no password": (chance, { fake }) =>
    Buffer.concat([login(fake)[0] ?? Buffer.alloc(0), message(chance.pick([..."QPBEXSdcf\0"]), "select 1\0")]),
  versions: (chance) => startup(chance.below(2 ** 31), "user", "reader", "database", "orders"),
  cancel: (chance) => packet(80_877_102, chance.bytes(chance.pick([0, 4, 8, 12, 36, 256, 260, 9_000]))),
  requests: (chance) => Buffer.concat([gssRequest, sslRequest, gssRequest].slice(chance.below(3))),
};

/** Only in clear: a login that would be good inside TLS, and TLS of all sorts. */
const clearFamilies: Readonly<Record<string, Family>> = {
  "S-20 a login behind SSLRequest": (_, { real }) => Buffer.concat([sslRequest, ...login(real)]),
  "S-20 a login behind GSSENCRequest": (_, { real }) => Buffer.concat([gssRequest, ...login(real)]),
  "S-21 a login in clear": (_, { real }) => Buffer.concat(login(real)),
  "broken TLS": (chance, { clientHellos }) => mutate(chance, chance.pick(clientHellos)),
  "broken TLS behind SSLRequest": (chance, { clientHellos }) =>
    Buffer.concat([sslRequest, mutate(chance, chance.pick(clientHellos))]),
};

const frame = (body: Buffer | string, length?: number): Buffer => {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(2);
  head.writeUInt16BE(length ?? bytes.length);
  return Buffer.concat([head, bytes]);
};
const hello = (chance: Chance, token: string): string =>
  JSON.stringify({
    token,
    key: chance.bytes(91).toString("base64"),
    proof: chance.bytes(70).toString("base64"),
    as: "127.0.0.1:5432",
  });

const gateFamilies: Readonly<Record<string, Family>> = {
  ...{ noise: families["noise"] as Family, foreign: families["foreign"] as Family, login: valid },
  "S-04b a token without its key": (chance, { real }) => frame(hello(chance, real)),
  "a token of nobody's": (chance, { fake }) => Buffer.concat([frame(hello(chance, fake)), ...login(fake)]),
  "mutated frame": (chance, { fake }) => mutate(chance, frame(hello(chance, fake))),
  "wrong length": (chance, { fake }) => frame(hello(chance, fake), chance.below(65_536)),
  "long frame": (chance) => frame(chance.bytes(4_000 + chance.below(30_000))),
  "other JSON": (chance) =>
    frame(
      chance.pick(["null", "[]", "1", '{"token":{}}', '{"__proto__":{"ok":true}}', '{"ok":true}', "[".repeat(3_000)]),
    ),
};

const redisLogin = (chance: Chance, token: string): Buffer =>
  chance.pick([
    () => said("AUTH", token),
    () => said("AUTH", "reader", token),
    () => said("HELLO", chance.pick(["2", "3", "4"]), "AUTH", "reader", token),
    () => Buffer.from(`AUTH reader ${token}\r\n`),
  ])();
const redisEarly = (chance: Chance): Buffer =>
  chance.pick([
    () => said(chance.pick(["PING", "GET", "MULTI", "MONITOR", "SUBSCRIBE", "CLIENT", "HELLO", "RESET"]), "x"),
    () => Buffer.from(chance.pick(["PING\r\n", "\r\n", "*0\r\n", "*-1\r\n", 'SET k "a\r\n'])),
    () => Buffer.from(`*${edge(chance)}\r\n$${edge(chance)}\r\n`),
    () => Buffer.concat([Buffer.from(`*2\r\n$4\r\nAUTH\r\n$${edge(chance)}\r\n`), chance.bytes(chance.below(40_000))]),
  ])();
const redisFamilies: Readonly<Record<string, Family>> = {
  ...{ noise: families["noise"] as Family, foreign: families["foreign"] as Family, startup: valid },
  "S-27 commands before and behind a login": (chance, { fake }) =>
    Buffer.concat([redisEarly(chance), redisLogin(chance, fake), said("SET", "k", "v"), redisEarly(chance)]),
  "mutated login": (chance, { fake }) => mutate(chance, redisLogin(chance, fake)),
  "login cut short": (chance, { fake }) => {
    const whole = redisLogin(chance, fake);
    return whole.subarray(0, 1 + chance.below(whole.length - 1));
  },
};
const redisClear: Readonly<Record<string, Family>> = {
  ...redisFamilies,
  "S-21 a login in clear": (chance, { real }) => redisLogin(chance, real),
  "broken TLS": clearFamilies["broken TLS"] as Family,
};

const one = (chance: Chance, of: Readonly<Record<string, Family>>, words: Words) => {
  const [family, make] = chance.pick(Object.entries(of));
  return { family, bytes: make(chance, words) };
};

export const makeKnock = (chance: Chance, words: Words): Knock => {
  const way = chance.below(14);
  if (way < 4) return { port: "postgres", inside: "clear", ...one(chance, { ...families, ...clearFamilies }, words) };
  if (way < 7)
    return { port: "postgres", inside: chance.pick(["sslrequest", "direct"]), ...one(chance, families, words) };
  if (way < 8) return { port: "gate", inside: "clear", ...one(chance, { ...families, ...clearFamilies }, words) };
  if (way < 10) return { port: "gate", inside: "gate", ...one(chance, gateFamilies, words) };
  if (way < 11) return { port: "redis", inside: "clear", ...one(chance, redisClear, words) };
  return { port: "redis", inside: "tls", ...one(chance, redisFamilies, words) };
};
