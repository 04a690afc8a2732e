// What a protocol is handed, in memory: both ends of a stream, a gate, an upstream, a live session. Nothing here is TLS;
// `secure` only tells that it was asked for.
import { type Duplex, duplexPair } from "node:stream";
import { decide, type Grant, isDenial } from "@sallyport/core/access";
import type { Statement } from "@sallyport/core/audit";
import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import type { Authorised, Gate, Live, OwnKeys, Upstream } from "@sallyport/wire/protocol";
import { makeDatabase, makeRole, makeSubject, now, rolesOf } from "../core/make.ts";
import { lineOf } from "./line.ts";

/** Both ends of a connection; what the far end says is gathered. */
export interface Link {
  /** The end under test. */
  readonly ours: Duplex;
  /** The peer's. */
  readonly theirs: Duplex;
  received(): Buffer;
  /** Resolves once `done` holds for all that the peer has received, or the connection is over. */
  until(done: (received: Buffer) => boolean): Promise<Buffer>;
  ended(): Promise<Buffer>;
}

export const link = (options: { highWaterMark?: number; gather?: boolean } = {}): Link => {
  const { gather = true, ...stream } = options;
  const [ours, theirs] = duplexPair(stream);
  const chunks: Buffer[] = [];
  const watchers = new Set<() => void>();
  let over = false;
  const received = (): Buffer => Buffer.concat(chunks);
  const wake = (): void => {
    for (const watcher of watchers) watcher();
  };
  if (gather)
    theirs.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      wake();
    });
  for (const event of ["end", "close"])
    theirs.on(event, () => {
      over = true;
      wake();
    });
  theirs.on("error", () => {});
  theirs.on("end", () => theirs.end());
  // a pair in memory does not notice when its other half is destroyed; a socket does
  ours.on("close", () => theirs.destroy());
  theirs.on("close", () => setImmediate(() => ours.destroy()));
  const until = (done: (bytes: Buffer) => boolean): Promise<Buffer> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!over && !done(received())) return;
        watchers.delete(look);
        resolve(received());
      };
      watchers.add(look);
      look();
    });
  return { ours, theirs, received, until, ended: () => until(() => false) };
};

export const grantFor = (options: { user?: string; name?: string; replication?: boolean } = {}): Grant => {
  const { user = "reader", name = "orders", replication = false } = options;
  const role = makeRole("all", {
    allow: { db_labels: { "*": ["*"] }, db_names: ["*"], db_users: ["*"] },
    options: { replication },
  });
  const decision = decide(makeSubject(["all"]), rolesOf(role), [], makeDatabase(), { user, name, since: now }, now);
  if (isDenial(decision)) throw new Error("the test's own grant was denied");
  return decision;
};

export const clear = (user = "reader", password = "iam-token"): Credential => ({
  as: "password",
  user,
  password: secret(password),
  methods: "clear",
});
export const challenge = (user = "reader", password = "pencil"): Credential => ({
  as: "password",
  user,
  password: secret(password),
  methods: "challenge",
});

export const gateTo = (log: string[] = [], arrived?: Authorised): Gate => ({
  secure: async (socket) => {
    log.push("secure");
    return socket;
  },
  deadline: { start: () => {}, stop: () => {} },
  ...(arrived ? { arrived } : {}),
});

export interface Stage {
  readonly upstream: Upstream;
  readonly dialled: Link[];
  readonly log: string[];
}

/** An upstream whose every dial is given to `serve`. */
export const upstreamTo = (serve: (link: Link) => void, credential: Credential = clear()): Stage => {
  const dialled: Link[] = [];
  const log: string[] = [];
  const peer = { address: "10.0.0.7", port: 5432 };
  const upstream: Upstream = {
    database: { name: "orders", endpoint: makeDatabase().endpoint },
    tcp: async (at = peer) => {
      const made = link();
      dialled.push(made);
      log.push(`tcp ${at.address}`);
      serve(made);
      return { socket: made.ours, peer: at };
    },
    secure: async (socket) => {
      log.push("secure");
      return socket;
    },
    credential: async () => {
      log.push("credential");
      return credential;
    },
  };
  return { upstream, dialled, log };
};

export interface Session {
  readonly live: Live;
  readonly statements: Statement[];
  lines(): readonly Readonly<Record<string, unknown>>[];
  readonly keys: string[];
  /** The keys that the relay used itself. */
  readonly cancelled: string[];
  readonly own: OwnKeys;
  end(failure: Failure): void;
  touches(): number;
}

type Recorded = (statement: Statement, line: Readonly<Record<string, unknown>>) => Promise<void> | undefined;
export const session = (record?: Recorded): Session => {
  const statements: Statement[] = [];
  const keys: string[] = [];
  const cancelled: string[] = [];
  const abort = new AbortController();
  let touches = 0;
  const made: Readonly<Record<string, unknown>>[] = [];
  return {
    statements,
    keys,
    cancelled,
    touches: () => touches,
    end: (failure) => abort.abort(failure),
    own: { random: (bytes) => Buffer.alloc(bytes, 0xab), register: (key) => void keys.push(key) },
    lines: () => made,
    live: {
      guard: () => undefined,
      record: (statement) => {
        statements.push(statement);
        // a statement is worded once
        const line = lineOf(statement);
        made.push(line);
        return record?.(statement, line);
      },
      cancel: async (key) => void cancelled.push(key),
      touch: () => {
        touches++;
      },
      ended: abort.signal,
    },
  };
};

/** Bytes laid out by hand, apart from the code under test. */
export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
export const message = (type: string, ...parts: readonly (string | Buffer)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)));
  return Buffer.concat([Buffer.from(type, "latin1"), int32(body.length + 4), body]);
};
export const startupOf = (settings: string, version = 0x30000): Buffer => message("", int32(version), settings);
export const sslRequest = message("", int32(80_877_103));
export const gssRequest = message("", int32(80_877_104));

/** The fields of an ErrorResponse that `bytes` end with. */
export const errorOf = (bytes: Buffer): Readonly<Record<string, string>> => {
  const at = bytes.lastIndexOf("E\0\0");
  if (at < 0) return {};
  const fields = bytes
    .subarray(at + 5)
    .toString()
    .split("\0");
  return Object.fromEntries(fields.filter((field) => field !== "").map((field) => [field[0], field.slice(1)]));
};

export const failed = async (promise: Promise<unknown>): Promise<Failure> => {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error("it did not fail");
};
