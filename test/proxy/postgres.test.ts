// The real protocol behind the real ports: what a stock client is told when it is not let in.
import { once } from "node:events";
import { postgres } from "@sallyport/wire/postgres/postgres";
import pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { dialTcp, dialTls, eventually, type House, openHouse, testCertificate } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse({ protocols: { postgres } });
});
afterEach(() => house.close());

const port = (): number => house.proxy.ports["postgres"] ?? 0;

const connect = async (over: pg.ClientConfig): Promise<{ code: string; message: string; hint?: string }> => {
  const { ca } = await testCertificate();
  const base = { host: "127.0.0.1", port: port(), user: "reader", database: "orders" };
  const client = new pg.Client({ ...base, ssl: { ca, servername: "localhost" }, ...over });
  client.on("error", () => {});
  try {
    await client.connect();
    throw new Error("it was let in");
  } catch (thrown) {
    return thrown as { code: string; message: string; hint?: string };
  } finally {
    await client.end().catch(() => {});
  }
};

it("S-48 tells a stock client that its token is no good, with a SQLSTATE and a hint", async () => {
  const told = await connect({ password: "wrong" });
  expect(told).toMatchObject({
    code: "28P01",
    message: "this token is not valid here",
    hint: expect.stringContaining("sally"),
  });
});

it("S-21 refuses a login in clear", async () => {
  expect(await connect({ password: "wrong", ssl: false })).toMatchObject({ message: expect.stringMatching(/TLS/i) });
});

it("S-05 tells what the token is for", async () => {
  const { token } = await house.issue();
  expect(await connect({ password: token, user: "writer" })).toMatchObject({
    message: expect.stringContaining('as user "reader" and database "orders" only'),
  });
});

it("S-21 takes direct TLS with the protocol's ALPN and not without", async () => {
  const direct = await dialTls(port(), { alpn: "postgresql" });
  expect(direct.alpnProtocol).toBe("postgresql");
  direct.destroy();
  const none = await dialTls(port());
  await once(none.resume(), "close");
  await eventually(() => house.proxy.counts().waiting === 0);
});

it("S-24 closes on what is no PostgreSQL, and logs nothing", async () => {
  for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "*1\r\n$4\r\nPING\r\n"]) {
    const socket = await dialTcp(port());
    socket.write(bytes);
    await once(socket.resume(), "close");
  }
  await eventually(() => house.proxy.counts().waiting === 0);
  expect(house.log).toEqual([]);
});
