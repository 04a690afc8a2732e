// The gate: one port for every protocol. TLS 1.3 with ALPN `sallyport/1`, then one frame that shows a token and proves, over
// this very TLS session, the key it is bound to. What follows an ok is the plain database protocol, already authorised.
// Frame in: {token, key, proof, as}; frame out: {ok: true} or {code, message, hint}.
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Digest, Random } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";
import { badToken } from "@sallyport/core/token";
import type { Dialled } from "@sallyport/wire/protocol";
import * as z from "zod";
import type { Admissions, Means } from "./admission.ts";
import { openDeadline, until } from "./deadline.ts";
import { readFrame, writeFrame } from "./frame.ts";
import { describeError, type Log } from "./log.ts";
import { type AnyProtocol, type Entered, farewell, type Login, type Visit, watchClose } from "./login.ts";
import { type LiveSession, makeId } from "./session.ts";
import type { Trust } from "./trust.ts";

export const exporterLabel = "EXPORTER-sallyport";
const exporterSize = 32;
const maxFrame = 4096;

const Hello = z.object({
  token: z.string().max(256),
  key: z.string().max(512),
  proof: z.string().max(512),
  /** The loopback address that the user's own client dialled. */
  as: z.string().max(300).optional(),
});
type Hello = z.infer<typeof Hello>;

export interface GateParts {
  readonly trust: Trust;
  readonly admissions: Admissions;
  readonly login: Login;
  readonly protocols: Readonly<Record<string, AnyProtocol>>;
  readonly digest: Digest;
  readonly random: Random;
  readonly log: Log;
  readonly limits?: { readonly frameMs?: number; readonly admitMs?: number; readonly graceMs?: number };
}

const parseHello = (frame: Buffer): Hello => {
  try {
    return Hello.parse(JSON.parse(frame.toString()));
  } catch (cause) {
    throw new Failure("protocol", "the first frame is not a gate request", { hint: "update sally", cause });
  }
};

/** What the user's own client dialled, as the tunnel says it. */
const parseDialled = (as: string | undefined): Dialled | undefined => {
  const [, host, port] = /^\[?([^[\]\s]{1,255}?)\]?:(\d{1,5})$/.exec(as ?? "") ?? [];
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
};

/** P-256 or Ed25519, nothing else. */
const parseKey = (der: Buffer): KeyObject => {
  try {
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    const known =
      key.asymmetricKeyType === "ed25519" ||
      (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1");
    if (known) return key;
  } catch {
    // said below, in the words for any bad token
  }
  throw badToken("not a key of ours");
};

/** Is `proof` this key's signature over what both ends of this TLS session, and nobody else, can derive for this token? */
const isProven = (socket: TLSSocket, hello: Hello, key: KeyObject, digest: Digest): boolean => {
  const context = Buffer.from(digest.sha256(hello.token), "hex");
  const exported = socket.exportKeyingMaterial(exporterSize, exporterLabel, context);
  const algorithm = key.asymmetricKeyType === "ec" ? "sha256" : null;
  return verify(algorithm, exported, key, Buffer.from(hello.proof, "base64"));
};

export const openGate = (parts: GateParts): ((visit: Visit) => Promise<void>) => {
  const { trust, admissions, login, digest, random, log } = parts;
  const { frameMs = 5_000, admitMs = 10_000, graceMs = 2_000 } = parts.limits ?? {};

  const answer = (socket: TLSSocket, thrown: unknown): void => {
    const failure = toFailure(thrown);
    const { code, message, hint } = failure;
    if (code !== "internal") {
      writeFrame(socket, { code, message, ...(hint === undefined ? {} : { hint }) });
      return;
    }
    const id = makeId("err", random);
    log.error("a gate request failed on our side", { id, ...describeError(thrown) });
    writeFrame(socket, { code, message, hint: `its name in the proxy's log is ${id}` });
  };

  const admit = async (socket: TLSSocket, frame: Buffer, visit: Visit, signal: AbortSignal): Promise<Entered> => {
    const hello = parseHello(frame);
    const dialled = parseDialled(hello.as);
    const key = Buffer.from(hello.key, "base64");
    if (!isProven(socket, hello, parseKey(key), digest)) throw badToken("not proven");
    const { address, client } = visit;
    const means: Means = { way: "bound", key };
    const visitor = { way: "gate", client } as const;
    const session = await admissions.admit({ token: secret(hello.token), means, visitor, address, signal });
    return { session, ...(dialled && { dialled }) };
  };

  /** The session behind a proven token. @throws Failure, which the client must be told */
  const enter = async (socket: TLSSocket, frame: Buffer, visit: Visit, gone: AbortSignal): Promise<Entered> => {
    const deadline = openDeadline(admitMs, "the gate");
    const stop = AbortSignal.any([deadline.signal, gone]);
    try {
      return await until((async () => admit(socket, frame, visit, stop))(), stop);
    } finally {
      deadline.stop();
    }
  };

  /** TLS and the first frame, each in its time. Whoever dawdles is not worth words. */
  const hear = async (visit: Visit): Promise<{ socket: TLSSocket; frame: Buffer }> => {
    const deadline = openDeadline(frameMs, "the first frame");
    deadline.signal.addEventListener("abort", () => void visit.socket.destroy(), { once: true });
    try {
      const socket = await trust.gate(visit.socket);
      deadline.stop();
      deadline.start();
      return { socket, frame: await readFrame(socket, maxFrame) };
    } finally {
      deadline.stop();
    }
  };

  const welcome = async (socket: TLSSocket, frame: Buffer, visit: Visit): Promise<void> => {
    let session: LiveSession | undefined;
    try {
      const entered = await enter(socket, frame, visit, watchClose(visit.socket));
      session = entered.session;
      const protocol = parts.protocols[session.token.protocol];
      if (!protocol) throw new Failure("unsupported", `this proxy does not speak ${session.token.protocol}`);
      writeFrame(socket, { ok: true });
      await login.serve(protocol, visit, socket, entered);
    } catch (thrown) {
      session?.leave();
      if (!socket.destroyed) answer(socket, thrown);
      socket.end();
    }
  };

  return async (visit) => {
    try {
      const { socket, frame } = await hear(visit);
      await welcome(socket, frame, visit);
    } catch {
      // not our TLS, or no frame: nobody to tell, nothing to log
    } finally {
      await farewell(visit.socket, graceMs);
    }
  };
};
