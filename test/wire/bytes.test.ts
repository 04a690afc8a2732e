import { PassThrough } from "node:stream";
import { take, takeOrEnd } from "@sallyport/wire/bytes";
import { expect, test } from "vitest";

test("S-22 half a packet delays nobody else", async () => {
  const socket = new PassThrough();
  const whole = take(socket, 8);
  socket.write("abc");
  // a wait that polls would starve timers for ever
  for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setTimeout(resolve, 1));
  socket.write("defgh");
  expect(String(await whole)).toBe("abcdefgh");
});

test("takes exactly what it asks for, and leaves what comes behind", async () => {
  const socket = new PassThrough();
  socket.write("abcdef");
  expect(String(await take(socket, 2))).toBe("ab");
  expect(String(await take(socket, 3))).toBe("cde");
  socket.end();
  expect(String(await take(socket, 1))).toBe("f");
  expect(await takeOrEnd(socket, 1)).toBeUndefined();
  for (const event of ["readable", "end", "close", "error"]) expect(socket.listenerCount(event)).toBeLessThan(2);
});

test("an end in the middle is a failure, and so is more than may be held unread", async () => {
  const ended = new PassThrough();
  ended.end("abc");
  await expect(take(ended, 4)).rejects.toMatchObject({ code: "protocol" });
  const full = new PassThrough();
  full.write("0123456789");
  await expect(take(full, 20, { hold: 8 })).rejects.toMatchObject({ code: "too_large" });
  const destroyed = new PassThrough();
  const pending = take(destroyed, 4);
  destroyed.destroy();
  await expect(pending).rejects.toMatchObject({ code: "protocol" });
});
