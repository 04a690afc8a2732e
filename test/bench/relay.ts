// The floor that is compared with: what any relay in Node costs. TLS on both legs, verified in full upstream, bytes passed on as
// they come with both sides' backpressure, and nothing else: no login, no look at a message, no audit.
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";

const env = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
};
const ALPNProtocols = ["postgresql"];
const [cert, key, ca] = ["RELAY_CERT", "RELAY_KEY", "RELAY_CA"].map((name) => readFileSync(env(name)));

const pass = (from: TLSSocket, to: TLSSocket): void => {
  from.on("data", (chunk) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("close", () => to.destroy());
  from.on("error", () => to.destroy());
};

const server = createServer({ cert, key, ALPNProtocols, noDelay: true, allowHalfOpen: true }, (near) => {
  const far = connect({
    ...{ host: env("RELAY_HOST"), port: Number(env("RELAY_PORT")), servername: "localhost" },
    ...{ ca, ALPNProtocols, allowHalfOpen: true },
  });
  far.setNoDelay(true);
  pass(near, far);
  pass(far, near);
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ message: "ready", ports: { postgres: port } })}\n`);
});
process.once("SIGTERM", () => process.exit(0));
