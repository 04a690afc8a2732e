// 2,000 strangers at a real proxy's plain ports and gate. None gets in, none gets a byte to the database, none brings the proxy
// down or makes it swell. `SEED=… npm test -- test/fuzz/listener` says it all again.
import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect as dial, type Socket } from "node:net";
import { connect as encrypt } from "node:tls";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openWorld, plainly, type World } from "../e2e/world.ts";
import { sslRequest } from "../local/postgres-bytes.ts";
import { chanceOf, type Inside, type Knock, makeKnock, recordClientHellos } from "./knock.ts";

const packets = 2_000;
const atOnce = 16;
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31));
/** Beyond the proxy's own deadline for a login. */
const hangsAfter = 15_000;
const authenticationOk = Buffer.from("520000000800000000", "hex");

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world?.close());

const alpn: Partial<Record<Inside, string>> = { direct: "postgresql", gate: "sallyport/1" };

/** The stream to say it on; the promise fails when the proxy closes first. */
const enter = async (socket: Socket, inside: Inside): Promise<Socket> => {
  if (inside === "clear") return socket;
  if (inside === "sslrequest") {
    socket.write(sslRequest);
    const answer = await new Promise<Buffer>((resolve, reject) => socket.once("data", resolve).once("close", reject));
    expect(answer.toString()).toBe("S");
  }
  const ca = await readFile(world.laptop.caFile);
  return new Promise((resolve, reject) => {
    const options = { socket, ca, servername: "localhost", ...(alpn[inside] && { ALPNProtocols: [alpn[inside]] }) };
    const stream: Socket = encrypt(options, () => resolve(stream));
    stream.once("error", reject);
  });
};

interface Heard {
  readonly bytes: Buffer;
  readonly ms: number;
}

/** Says it all, in two pieces, and then that this is all (`hold`: not even that); hears until the proxy closes. */
const knock = async ({ port, inside, bytes, family }: Knock, from: string, hold = false): Promise<Heard> => {
  const startedAt = performance.now();
  const at = world.proxies[0]?.ports[port] ?? 0;
  const socket = dial({ host: "127.0.0.1", port: at, localAddress: from, allowHalfOpen: true });
  socket.on("error", () => {});
  const over = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const late = setTimeout(() => socket.destroy(new Error("late")), hangsAfter);
  const chunks: Buffer[] = [];
  try {
    const stream = await enter(socket, inside);
    stream.on("error", () => {}).on("data", (chunk: Buffer) => chunks.push(chunk));
    // that it closes is all that is asked of the proxy; a client that hears so closes too
    stream.on("end", () => stream.end());
    const middle = Math.floor(bytes.length / 2);
    stream.write(bytes.subarray(0, middle));
    if (hold) stream.write(bytes.subarray(middle));
    else stream.end(bytes.subarray(middle));
    await over;
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
  const ms = performance.now() - startedAt;
  if (ms >= hangsAfter) throw new Error(`${family} at ${port} (${inside}) was left open: ${bytes.toString("hex")}`);
  return { bytes: Buffer.concat(chunks), ms };
};

const residentMb = async (): Promise<number> => {
  const status = await readFile(`/proc/${world.proxies[0]?.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
};
const arrivals = (): number =>
  Object.values(world.fronts).reduce((sum, front) => sum + front.counters().connections, 0);

it(`S-23 S-24 ${packets} fuzzed packets at plain ports and the gate: nobody in, nothing forwarded, nothing broken`, async () => {
  console.log(`seed ${seed}`);
  const chance = chanceOf(seed);
  const ana = await world.person("ana", ["dev"]);
  const answer = await world.bearer(ana);
  const fake = `${answer.token.slice(0, -6)}${"x".repeat(6)}`;
  const words = { fake, real: answer.token, clientHellos: await recordClientHellos() };
  const knocks = Array.from({ length: packets }, () => makeKnock(chance, words));
  const pid = world.proxies[0]?.pid;

  // some say their piece and then nothing, and keep the line open
  const lingering = Promise.all(Array.from({ length: 12 }, () => knock(makeKnock(chance, words), "127.0.0.9", true)));
  let warm = 0;
  let next = 0;
  const work = async (worker: number): Promise<void> => {
    for (let at = next++; at < knocks.length; at = next++) {
      const one = knocks[at] as Knock;
      if (at === packets / 4) warm = await residentMb();
      // addresses of their own, since bad tokens are counted by address
      const { bytes } = await knock(one, `127.0.1.${1 + worker}`);
      const told = `${one.family} at ${one.port} (${one.inside}) was told ${bytes.toString("latin1").slice(0, 200)}`;
      if (bytes.includes(authenticationOk) || bytes.includes('"ok"') || bytes.includes("+OK")) throw new Error(told);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, worker) => work(worker)));
  for (const { ms } of await lingering) expect(ms).toBeLessThan(hangsAfter);
  expect(arrivals()).toBe(0);
  const grown = (await residentMb()) - warm;
  expect(grown).toBeLessThan(96);
  console.log(`grown by ${grown.toFixed(1)} MB`);

  // the very same process serves people as before
  const { ports } = world.proxies[0] ?? expect.unreachable();
  expect((await fetch(`http://127.0.0.1:${ports.health}/`)).status).toBe(200);
  const place = plainly(world.laptop, answer);
  const { host, port, user, database, password, ca } = place;
  const client = new pg.Client({ host, port, user, database, password, ssl: { ca } });
  await client.connect();
  expect((await client.query("select current_user")).rows).toEqual([{ current_user: "reader" }]);
  await client.end();
  expect(arrivals()).toBe(1);
  expect(world.proxies[0]?.pid).toBe(pid);
  expect(world.proxies[0]?.log()).not.toMatch(/"level":"(ERROR|CRITICAL)"/);
  expect(world.proxies[0]?.log()).not.toContain(answer.token);
}, 120_000);
