// A gate for tests: TLS 1.3, the first frame read and its proof verified as design section 2 says, then whatever the test wants.
import { createHash, createPublicKey, verify } from "node:crypto";
import type { AddressInfo, Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import type { ConnectAnswer } from "@sallyport/core/api";
import { createAuthority } from "@sallyport/local/certificate";

interface Knock {
  readonly token: string;
  readonly key: string;
  readonly proof: string;
  readonly as: string;
  /** Does the proof fit this TLS session, this token and this key? */
  readonly proven: boolean;
}

export interface GateOptions {
  /** The answer to a knock; `{ok: true}` when left out. */
  readonly answer?: (knock: Knock) => unknown;
  /** What is behind the gate; an echo when left out. */
  readonly behind?: (socket: TLSSocket, knock: Knock) => void;
  /** Bytes written right behind the answer, in the same write. */
  readonly greeting?: string;
  readonly alpn?: readonly string[];
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  /** Names in the certificate. */
  readonly names?: readonly string[];
}

export interface TestGate {
  readonly gate: ConnectAnswer["gate"];
  readonly knocks: readonly Knock[];
  /** Pins of another certificate by the same authority. */
  readonly foreignPin: string;
  close(): Promise<void>;
}

const frame = (value: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(2);
  head.writeUInt16BE(body.length);
  return Buffer.concat([head, body]);
};

const readKnock = async (socket: TLSSocket): Promise<Knock> => {
  let seen = Buffer.alloc(0);
  while (seen.length < 2 || seen.length < 2 + seen.readUInt16BE(0)) {
    const chunk: unknown = socket.read();
    if (Buffer.isBuffer(chunk)) seen = Buffer.concat([seen, chunk]);
    else await new Promise((resolve) => socket.once("readable", resolve));
  }
  const end = 2 + seen.readUInt16BE(0);
  if (seen.length > end) socket.unshift(seen.subarray(end));
  const told = JSON.parse(seen.toString("utf8", 2, end)) as Omit<Knock, "proven">;
  const context = createHash("sha256").update(told.token).digest();
  const material = socket.exportKeyingMaterial(32, "EXPORTER-sallyport", context);
  const key = createPublicKey({ key: Buffer.from(told.key, "base64"), format: "der", type: "spki" });
  const digest = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  return { ...told, proven: verify(digest, material, key, Buffer.from(told.proof, "base64")) };
};

export const openGate = async (options: GateOptions = {}): Promise<TestGate> => {
  const authority = await createAuthority({ now: Date.now() });
  const certificate = await authority.issue(options.names ?? ["127.0.0.1"]);
  const other = await authority.issue(["127.0.0.1"]);
  const knocks: Knock[] = [];
  const sockets = new Set<Socket>();
  const welcome = async (socket: TLSSocket): Promise<void> => {
    const knock = await readKnock(socket);
    knocks.push(knock);
    const answer = options.answer?.(knock) ?? { ok: true };
    socket.write(Buffer.concat([frame(answer), Buffer.from(options.greeting ?? "")]));
    if (typeof answer === "object" && answer !== null && "code" in answer) socket.end();
    else if (options.behind) options.behind(socket, knock);
    else socket.pipe(socket);
  };
  const server = createServer({
    cert: certificate.cert,
    key: certificate.key,
    minVersion: "TLSv1.2",
    maxVersion: options.maxVersion ?? "TLSv1.3",
    ...(options.alpn?.length === 0 ? {} : { ALPNProtocols: [...(options.alpn ?? ["sallyport/1"])] }),
    allowHalfOpen: true,
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    welcome(socket).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    gate: { host: "127.0.0.1", port, pins: [certificate.pin], ca: authority.ca },
    knocks,
    foreignPin: other.pin,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
};
