// The way in by the gate: TLS 1.3 with ALPN sallyport/1, the chain and the pin both verified, then one
// frame each way: u16 length and JSON. The proof is a signature over this very TLS session's exporter, so it fits no other.
import { createHash, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity, connect, type TLSSocket } from "node:tls";
import type { ConnectAnswer } from "@sallyport/core/api";
import { Failure, failureCodes } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";
import * as z from "zod";
import { type KeyPair, tokenContext } from "./key.ts";

export const gateProtocol = "sallyport/1";
const exporterLabel = "EXPORTER-sallyport";
const exporterLength = 32;
const firstFrameLimit = 4096;
const deadlineMs = 20_000;

/** A bound token, its key and the gate it is for. */
export interface Pass {
  readonly gate: ConnectAnswer["gate"];
  readonly token: Secret;
  readonly key: KeyPair;
}

const Answer = z.union([
  z.object({ ok: z.unknown().refine((ok) => ok !== undefined && ok !== false && ok !== null) }),
  z.object({ code: z.enum(failureCodes).catch("internal"), message: z.string(), hint: z.string().optional() }),
]);

const pinOf = (certificate: X509Certificate): string =>
  `sha256/${createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest("base64")}`;

/** No pins match nothing: a gate that nobody vouched for is refused. */
const checkPin = (pins: readonly string[], raw: Buffer): Error | undefined =>
  pins.includes(pinOf(new X509Certificate(raw)))
    ? undefined
    : new Failure("upstream_untrusted", "the gate's certificate is not the one the server vouched for", {
        hint: "ask again in a moment; if it stays, somebody may be listening in: tell an administrator",
      });

const dialGate = (gate: Pass["gate"]): TLSSocket => {
  const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    host: gate.host,
    port: gate.port,
    ...(isIP(gate.host) ? {} : { servername: gate.host }),
    ...(gate.ca === undefined ? {} : { ca: gate.ca }),
    ALPNProtocols: [gateProtocol],
    minVersion: "TLSv1.3",
    allowHalfOpen: true,
    checkServerIdentity: (host, certificate) =>
      checkServerIdentity(host, certificate) ?? checkPin(gate.pins, certificate.raw),
  };
  return connect(options);
};

const frame = (value: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(value));
  if (body.length > firstFrameLimit) throw new Failure("too_large", "the first frame is too large");
  const head = Buffer.alloc(2);
  head.writeUInt16BE(body.length);
  return Buffer.concat([head, body]);
};

/** Reads one frame; what follows it stays in the stream for the relay: where a server speaks first, its bytes may be right behind. */
const readFrame = (socket: TLSSocket): Promise<unknown> => {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const closed = (): void =>
    reject(new Failure("unavailable", "the gate closed the connection without an answer", { hint: "try again" }));
  let seen = Buffer.alloc(0);
  const read = (): void => {
    for (let chunk: unknown = socket.read(); Buffer.isBuffer(chunk); chunk = socket.read()) {
      seen = Buffer.concat([seen, chunk]);
      if (seen.length < 2 || seen.length < 2 + seen.readUInt16BE(0)) continue;
      const end = 2 + seen.readUInt16BE(0);
      socket.off("readable", read).off("end", closed).off("close", closed);
      if (seen.length > end) socket.unshift(seen.subarray(end));
      try {
        resolve(JSON.parse(seen.toString("utf8", 2, end)));
      } catch (cause) {
        reject(new Failure("protocol", "the gate's answer can't be read", { cause }));
      }
      return;
    }
  };
  socket.on("readable", read).once("end", closed).once("close", closed);
  return promise;
};

const explain = (gate: Pass["gate"], thrown: unknown): Failure => {
  if (thrown instanceof Failure) return thrown;
  const at = `${gate.host}:${gate.port}`;
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  // UNSPECIFIED: what Node calls a fault of the chain that it has no name for, as of a leaf that signs another
  if (/CERT|SELF_SIGNED|ISSUER|ALTNAME|UNABLE_TO_VERIFY|SIGNATURE|INVALID|PATH_LENGTH|UNSPECIFIED/.test(code))
    return new Failure("upstream_untrusted", `the gate ${at} can't be trusted (${code})`, {
      hint: "is something between you and the gate taking TLS apart?",
      cause: thrown,
    });
  return new Failure("unavailable", `can't reach the gate ${at}${code ? ` (${code})` : ""}`, {
    hint: "check that your network lets you out to that port",
    cause: thrown,
  });
};

const shakeHands = async (socket: TLSSocket, pass: Pass, as: string): Promise<void> => {
  await new Promise<void>((resolve) => socket.once("secureConnect", resolve));
  // a server without ALPN completes the handshake all the same
  if (socket.alpnProtocol !== gateProtocol)
    throw new Failure("protocol", "what answers there is not a Sallyport gate", { hint: "check the gate's address" });
  const material = socket.exportKeyingMaterial(exporterLength, exporterLabel, tokenContext(pass.token));
  const { publicKey, prove } = pass.key;
  socket.write(frame({ token: pass.token.reveal(), key: publicKey, proof: prove(material), as }));
  const answer = Answer.safeParse(await readFrame(socket));
  if (!answer.success) throw new Failure("protocol", "the gate's answer can't be understood");
  if ("code" in answer.data) {
    const { code, message, hint } = answer.data;
    throw new Failure(code, message, hint === undefined ? {} : { hint });
  }
};

/** Through the gate: the stream behind it speaks the database's protocol. `as` is the loopback host:port the client program dialled. @throws Failure the gate's own, or why it could not be reached */
export const enterGate = async (pass: Pass, as: string, signal: AbortSignal): Promise<TLSSocket> => {
  const socket = dialGate(pass.gate);
  const stopped = Promise.withResolvers<never>();
  const stop = (failure: Failure): void => stopped.reject(failure);
  const interrupted = (): void => stop(new Failure("ended", "the tunnel was closed"));
  const timer = setTimeout(
    stop,
    deadlineMs,
    new Failure("timeout", "the gate did not answer in time", { hint: "try again" }),
  );
  signal.addEventListener("abort", interrupted, { once: true });
  if (signal.aborted) interrupted();
  // stays on: an error that comes while nobody waits must not end the process; close follows it
  socket.on("error", stopped.reject);
  stopped.promise.catch(() => {});
  try {
    await Promise.race([shakeHands(socket, pass, as), stopped.promise]);
    return socket;
  } catch (thrown) {
    socket.destroy();
    throw explain(pass.gate, thrown);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", interrupted);
  }
};
