// What a protocol is told of where its client is, and a client that leaves it to its token whom it is to be.
import { once } from "node:events";
import { Failure } from "@sallyport/core/failure";
import type { Dialled } from "@sallyport/wire/protocol";
import { redis } from "@sallyport/wire/redis/redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { said } from "../wire/redis/said.ts";
import { dialTls, enterGate, type House, logIn, openHouse, talk } from "./house.ts";
import { lines } from "./lines.ts";

let house: House;
let seen: (Dialled | undefined)[];
const watching: typeof lines = {
  ...lines,
  accept: (socket, gate) => {
    seen.push(gate.dialled);
    return lines.accept(socket, gate);
  },
};
beforeEach(async () => {
  seen = [];
  house = await openHouse({
    protocols: { postgres: watching },
    direct: { host: "db.example.com", ports: { postgres: 15_432, mysql: 13_306 } },
  });
});
afterEach(() => house.close());

it("through the gate it is what the tunnel's own client dialled", async () => {
  const bound = await house.issueBound();
  const { socket } = await enterGate(house.proxy, bound);
  const client = talk(socket);
  client.say("LOGIN reader orders whatever");
  expect(await client.hear()).toMatch(/^WELCOME/);
  expect(seen).toEqual([{ host: "127.0.0.1", port: 40_001 }]);
});

it("through the gate with words for it that are none it is nothing", async () => {
  for (const as of ["somewhere", "host:99999", "two words:1", ""]) {
    const bound = await house.issueBound();
    const { socket, answer } = await enterGate(house.proxy, bound, (hello) => ({ ...hello, as }));
    expect(answer).toEqual({ ok: true });
    const client = talk(socket);
    client.say("LOGIN reader orders whatever");
    await client.hear();
  }
  expect(seen).toEqual(Array.from({ length: 4 }, () => undefined));
});

it("on the plain port it is what clients are told to dial", async () => {
  const { token } = await house.issue();
  const { answer } = await logIn(house.proxy, token);
  expect(answer).toMatch(/^WELCOME/);
  expect(seen).toEqual([{ host: "db.example.com", port: 15_432 }]);
});

it("a client that names no user is the token's, and one that names another is refused", async () => {
  const unreachable = new Failure("upstream_unreachable", "the database is not there");
  const proxy = await house.beside({
    protocols: { redis },
    plainPorts: { redis: 0 },
    upstream: (database) => ({
      database,
      tcp: () => Promise.reject(unreachable),
      secure: () => Promise.reject(unreachable),
      credential: () => Promise.reject(unreachable),
    }),
  });
  await house.setDatabase({ protocol: "redis" });
  const ask = async (...words: readonly string[]): Promise<string> => {
    const socket = await dialTls(proxy.ports["redis"] ?? 0);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
    socket.write(said(...words));
    await once(socket, "close");
    return Buffer.concat(chunks).toString();
  };
  const { token } = await house.issue({ protocol: "redis" });
  for (const words of [
    ["AUTH", token],
    ["AUTH", "default", token],
    ["AUTH", "reader", token],
    ["HELLO", "3", "AUTH", "reader", token],
  ])
    expect(await ask(...words)).toBe("-ERR the database is not there\r\n");
  expect(await ask("AUTH", "writer", token)).toMatch(/^-NOPERM this token opens redis as user "reader"/);
  expect(await ask("AUTH", "reader", `${token.slice(0, -1)}x`)).toMatch(/^-WRONGPASS this token is not valid here/);
});
