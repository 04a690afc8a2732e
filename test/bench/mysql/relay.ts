// The fair peer where there is no mysqlrouter: a plain relay in Node that knows of MySQL only how TLS begins. The server's
// greeting and the client's request for TLS are passed on, then both legs are TLS, verified in full upstream, and bytes
// go as they come: no login, no look at a packet, no audit.
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createSecureContext, connect as secure, TLSSocket } from "node:tls";

const env = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
};
const [cert, key, ca] = ["RELAY_CERT", "RELAY_KEY", "RELAY_CA"].map((name) => readFileSync(env(name)));
const secureContext = createSecureContext({ cert, key });
const trust = createSecureContext({ ca });

const pass = (from: TLSSocket, to: TLSSocket): void => {
  from.on("data", (chunk) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("close", () => to.destroy());
  from.on("error", () => to.destroy());
};

/** Of the client's first bytes, its request for TLS is 36; what is behind them is TLS already. */
const upgrade = (near: Socket, far: Socket, first: Buffer): void => {
  near.pause();
  far.write(first.subarray(0, 36));
  if (first.length > 36) near.unshift(first.subarray(36));
  const inner = new TLSSocket(near, { isServer: true, secureContext });
  const outer = secure({ socket: far, secureContext: trust, servername: "localhost" });
  pass(inner, outer);
  pass(outer, inner);
};

const server = createServer({ noDelay: true }, (near) => {
  const far = connect({ host: env("RELAY_HOST"), port: Number(env("RELAY_PORT")), noDelay: true });
  for (const [one, other] of [[near, far] as const, [far, near] as const])
    one.on("error", () => other.destroy()).on("close", () => other.destroy());
  far.once("data", (greeting) => {
    near.write(greeting);
    near.once("data", (first) => upgrade(near, far, first));
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ message: "ready", ports: { mysql: port } })}\n`);
});
process.once("SIGTERM", () => process.exit(0));
