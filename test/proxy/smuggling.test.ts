// S-14 at the listeners of our own: the health port, which is HTTP, and the peers' port, which is not. One connection carries one
// request, whatever is said of lengths, and nothing of a second is ever answered.
import { once } from "node:events";
import { afterEach, beforeEach, expect, it } from "vitest";
import { dialTcp, type House, openHouse } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

/** All that a port says to these bytes until it hangs up. */
const say = async (port: number | undefined, text: string | Buffer): Promise<string> => {
  const socket = await dialTcp(port ?? 0);
  const said: Buffer[] = [];
  socket.on("data", (chunk) => said.push(Buffer.from(chunk)));
  const closed = once(socket, "close");
  socket.write(text);
  await closed;
  return Buffer.concat(said).toString("latin1");
};
const answers = (text: string): number => text.split("HTTP/1.1 ").length - 1;

it.each([
  [
    "both lengths",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  [
    "two lengths",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  [
    "an odd coding",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  [
    "a coding behind a tab",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  [
    "a negative length",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  ["two at once", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["headers of 10 KB", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(10_000)}\r\n\r\n`],
  ["an upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
])("S-14 the health port answers %s at most once and closes", async (_, bytes) => {
  const said = await say(house.proxy.ports["health"], bytes);
  expect(answers(said)).toBeLessThanOrEqual(1);
  expect(said).not.toContain("second");
  expect(said.toLowerCase()).toMatch(/^$|connection: close/);
});

it("S-14 the health port tells nothing by path, method or header", async () => {
  const ask = async (text: string): Promise<string> =>
    (await say(house.proxy.ports["health"], text)).split("\r\n\r\n")[1] ?? "";
  const usual = await ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(usual).toContain("serving");
  for (const text of [
    "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "DELETE / HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: PUT\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: evil\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
  ])
    expect(await ask(text)).toBe(usual);
});

it.each([
  ["HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["a frame without a signature", Buffer.concat([Buffer.from([0, 70]), Buffer.alloc(70, 0x41)])],
  ["a frame of no length", Buffer.from([0, 0])],
])("S-14 the peers' port answers %s with its end", async (_, bytes) => {
  // its number, which it says to whoever comes, and no more
  expect(await say(house.proxy.ports["peer"], bytes)).toMatch(/^\0 .{32}$/s);
});
