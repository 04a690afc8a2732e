// What the fault and security tests share: a client of bytes that tells how its login or its session ended, the gate's first
// frame as anybody may forge it. None of the product's wire code is in it.
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { ConnectAnswer } from "@sallyport/core/api";
import type { Laptop } from "@sallyport/local/laptop";
import { dial, encrypt, type Message, messages, sslRequest, startup } from "../local/postgres-bytes.ts";
import { say } from "./clients/raw.ts";
import { plainly } from "./world.ts";

/** How somebody else ended it: an ErrorResponse, or without a word (`closed`). */
export interface Ending {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}
const wordless: Ending = { code: "closed", message: "", hint: "" };

/** Whatever hangs fails its test by name, not by the runner's patience. */
export const within = async <T>(ms: number, what: string, work: Promise<T>): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
};

const endingOf = (body: Buffer): Ending => {
  const fields = new Map(
    body
      .toString()
      .split("\0")
      .map((field) => [field[0], field.slice(1)] as const),
  );
  return { code: fields.get("C") ?? "", message: fields.get("M") ?? "", hint: fields.get("H") ?? "" };
};

/** Where a login goes and what it says of itself. */
export interface Door {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly user: string;
  readonly database: string;
  readonly password: string;
  /** More of the startup packet, in pairs. */
  readonly settings?: readonly string[];
}
export const doorOf = (laptop: Laptop, answer: ConnectAnswer, port?: number): Door => ({
  ...plainly(laptop, answer),
  ...(port === undefined ? {} : { port }),
});

export interface Session {
  readonly socket: Socket;
  readonly pid: number;
  /** What a cancel says: the process id and its secret. */
  readonly key: Buffer;
  send(...pieces: readonly Buffer[]): void;
  next(): Promise<Message | undefined>;
  /** Runs a statement; the first column of its rows. @throws Error with the code when the answer is an error */
  query(text: string): Promise<readonly string[]>;
  /** How it is ended, whenever that is. */
  ending(): Promise<Ending>;
  close(): void;
}

const talk = (socket: Socket) => {
  const stream = messages(socket);
  socket.on("error", () => {});
  return async (): Promise<Message | undefined> => {
    try {
      const { value, done } = await stream.next();
      return done ? undefined : value;
    } catch {
      return undefined;
    }
  };
};

const firstColumn = (body: Buffer): string => body.subarray(6, 6 + Math.max(0, body.readInt32BE(2))).toString();

const openTalk = (socket: Socket, next: () => Promise<Message | undefined>, key: Buffer): Session => ({
  socket,
  pid: key.length < 4 ? 0 : key.readInt32BE(),
  key,
  send: (...pieces) => void socket.write(Buffer.concat(pieces)),
  next,
  async query(text) {
    socket.write(say("Q", text));
    const rows: string[] = [];
    let error: Ending | undefined;
    for (;;) {
      const message = await next();
      if (!message) throw Object.assign(new Error("the session is over"), wordless);
      if (message.type === "D") rows.push(firstColumn(message.body));
      if (message.type === "E") error = endingOf(message.body);
      if (message.type === "E" && error?.code.startsWith("57P")) throw Object.assign(new Error(error.message), error);
      if (message.type !== "Z") continue;
      if (error) throw Object.assign(new Error(error.message), error);
      return rows;
    }
  },
  async ending() {
    let last: Ending = wordless;
    for (let message = await next(); message; message = await next())
      if (message.type === "E") last = endingOf(message.body);
    socket.destroy();
    return last;
  },
  close: () => socket.destroy(),
});

/** From the startup packet on, over whatever socket. */
export const logInOver = async (
  socket: Socket,
  door: Omit<Door, "host" | "port" | "ca">,
): Promise<Session | Ending> => {
  const next = talk(socket);
  socket.write(startup(0x30000, "user", door.user, "database", door.database, ...(door.settings ?? [])));
  let key: Buffer = Buffer.alloc(0);
  for (;;) {
    const message = await next();
    if (!message) return wordless;
    const { type, body } = message;
    if (type === "R" && body.readInt32BE() === 3) socket.write(say("p", door.password));
    if (type === "K") key = body;
    if (type === "Z") return openTalk(socket, next, key);
    if (type !== "E") continue;
    // what is refused is also hung up on
    const ending = endingOf(body);
    for (let more = await next(); more; more = await next());
    socket.destroy();
    return ending;
  }
};

/** TLS as libpq does it: an SSLRequest, then a verified handshake. */
export const dialSecure = async ({ host, port, ca }: Pick<Door, "host" | "port" | "ca">): Promise<TLSSocket> => {
  const socket = await dial({ host, port });
  socket.on("error", () => {});
  socket.write(sslRequest);
  const [answer] = (await once(socket, "data")) as [Buffer];
  if (answer.toString() !== "S") throw new Error(`the proxy answered ${JSON.stringify(answer.toString())}`);
  return encrypt(socket, { ca, servername: host });
};

export const logIn = async (door: Door): Promise<Session | Ending> =>
  within(
    45_000,
    "a login",
    dialSecure(door).then((socket) => logInOver(socket, door)),
  );

/** A login that must succeed. */
export const enter = async (door: Door): Promise<Session> => {
  const session = await logIn(door);
  if (!("code" in session)) return session;
  throw Object.assign(new Error(`refused with ${session.code}: ${session.message}`), session);
};

/** A login that must not. */
export const refused = async (door: Door): Promise<Ending> => {
  const session = await logIn(door);
  if ("code" in session) return session;
  session.close();
  throw new Error("the login was let in");
};

/** A key pair as the tunnel makes one. */
export const makeKey = (): { readonly privateKey: KeyObject; readonly spki: string } => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { privateKey, spki: publicKey.export({ type: "spki", format: "der" }).toString("base64") };
};

export const dialGate = async (laptop: Laptop, ca: string, port = laptop.ports.gate): Promise<TLSSocket> => {
  const socket = connectTls({ host: "localhost", port, ca, servername: "localhost", ALPNProtocols: ["sallyport/1"] });
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
};

export const proofOver = (socket: TLSSocket, token: string, key: KeyObject): string => {
  const context = createHash("sha256").update(token).digest();
  return sign("sha256", socket.exportKeyingMaterial(32, "EXPORTER-sallyport", context), key).toString("base64");
};

/** Shows a frame at the gate; its answer, or undefined when it closed without one. */
export const showGate = async (socket: TLSSocket, frame: object): Promise<Record<string, unknown> | undefined> => {
  const body = Buffer.from(JSON.stringify(frame));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  socket.write(Buffer.concat([length, body]));
  let have = Buffer.alloc(0);
  while (have.length < 2 || have.length < 2 + have.readUInt16BE()) {
    const chunk: unknown = socket.read();
    if (Buffer.isBuffer(chunk)) have = Buffer.concat([have, chunk]);
    else if (socket.readableEnded || socket.destroyed) return undefined;
    else await Promise.race([once(socket, "readable"), once(socket, "end"), once(socket, "close")]);
  }
  const end = 2 + have.readUInt16BE();
  if (have.length > end) socket.unshift(have.subarray(end));
  return JSON.parse(have.toString("utf8", 2, end)) as Record<string, unknown>;
};

/** Everything it says until it hangs up, by an end or a reset, and how long that took. */
export const heard = async (socket: Socket): Promise<{ text: string; after: number }> => {
  const since = performance.now();
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  // not once(): an error is one of the ways to be hung up on
  if (!socket.closed && !socket.readableEnded)
    await new Promise<void>((resolve) => void socket.once("end", resolve).once("close", () => resolve()));
  socket.destroy();
  return { text: Buffer.concat(chunks).toString("latin1"), after: performance.now() - since };
};
export const throwAt = async (where: { host: string; port: number }, ...pieces: readonly Buffer[]) => {
  const socket = await dial(where);
  socket.on("error", () => {});
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return within(3_000, "hanging up", heard(socket));
};

/** The SQLSTATE in an ErrorResponse somewhere in it. */
export const fatalCode = (text: string): string | undefined => /\0C([0-9A-Z]{5})\0/.exec(text)?.[1];

/** Nothing but answers to requests for encryption, and the TLS alert that bytes of another kind get. */
export const isSilent = (text: string): boolean =>
  /^(?:53|4e){0,2}(?:1503..0002....)?$/.test(Buffer.from(text, "latin1").toString("hex"));

/** Asks until it is so. */
export const eventually = async (what: string, isSo: () => Promise<boolean> | boolean, ms = 5_000): Promise<void> => {
  const until = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > until) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
};
