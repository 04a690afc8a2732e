// Those that stay without logging in, as drivers' monitors do: out of the count of those on their way, in one of their own.
import { once } from "node:events";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ask, documents } from "../wire/mongodb/bytes.ts";
import { dialTls, eventually, type House, openHouse } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const hello = ask(1, { hello: 1, $db: "admin" });
const monitor = async (port: number) => {
  const socket = await dialTls(port);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => void chunks.push(chunk)).on("error", () => {});
  socket.write(hello);
  return { socket, answers: () => documents(Buffer.concat(chunks)) };
};

it("S-22 monitors stay beyond the login's deadline, under a cap of their own, and take nobody's place", async () => {
  const proxy = await house.beside({
    protocols: { mongodb },
    plainPorts: { mongodb: 0 },
    limits: { loginMs: 400, waiting: { total: 2, each: 2 }, lingering: { total: 3, each: 3 } },
  });
  const port = proxy.ports["mongodb"] ?? 0;
  const staying: Awaited<ReturnType<typeof monitor>>[] = [];
  for (let left = 3; left > 0; left--) {
    const one = await monitor(port);
    await eventually(() => one.answers().length === 1);
    staying.push(one);
  }
  await eventually(() => proxy.counts().waiting === 0);
  // it has its answer, and then is told that there is no room for it to stay
  const beyond = await monitor(port);
  await once(beyond.socket, "close");
  expect(beyond.answers()[0]).toMatchObject({ ok: 1, msg: "isdbgrid" });
  // who does not even say hello is on his way, and out of time
  const silent = await dialTls(port);
  await once(silent.resume(), "close");
  for (const { socket } of staying) socket.write(hello);
  await eventually(() => staying.every(({ answers }) => answers().length === 2));
  staying[0]?.socket.destroy();
  const next = await monitor(port);
  await eventually(() => next.answers().length === 1);
  next.socket.write(hello);
  await eventually(() => next.answers().length === 2);
  for (const { socket } of [...staying, next]) socket.destroy();
});

it("S-22 a message that a monitor begins and does not end is waited for no longer than a login", async () => {
  const proxy = await house.beside({ protocols: { mongodb }, plainPorts: { mongodb: 0 }, limits: { loginMs: 300 } });
  const one = await monitor(proxy.ports["mongodb"] ?? 0);
  await eventually(() => one.answers().length === 1);
  one.socket.write(hello.subarray(0, 20));
  await once(one.socket, "close");
  expect(proxy.counts().waiting).toBe(0);
});

it("S-22 those who stay lock nobody out: without room among them there is still time to log in", async () => {
  const proxy = await house.beside({
    protocols: { mongodb },
    plainPorts: { mongodb: 0 },
    limits: { lingering: { total: 1, each: 1 } },
  });
  const port = proxy.ports["mongodb"] ?? 0;
  const staying = await monitor(port);
  await eventually(() => staying.answers().length === 1);
  await eventually(() => proxy.counts().waiting === 0);
  const one = await monitor(port);
  await eventually(() => one.answers().length === 1);
  const payload = Buffer.from("\0ann\0no token");
  one.socket.write(ask(2, { saslStart: 1, mechanism: "PLAIN", payload, $db: "$external" }));
  await once(one.socket, "close");
  expect(one.answers()[1]).toMatchObject({ ok: 0, codeName: "AuthenticationFailed" });
  staying.socket.destroy();
});
