import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "@sallyport/local/certificate";
import { applyHosts, writeHosts } from "@sallyport/local/hosts";
import { authentication } from "@sallyport/local/postgres/fault";
import { expect, test } from "vitest";
import * as bytes from "./postgres-bytes.ts";
import { asked, front, host, login, postgres, reader, session, tls, v30 } from "./postgres-stage.ts";

test("large answers and slow readers lose nothing", async () => {
  const ada = await login(await front());
  const { rows } = await ada.query(
    "select sum(length(t))::int as total from (select repeat('x', 1000) t from generate_series(1, 20000)) x",
  );
  expect(rows).toEqual([{ total: 20_000_000 }]);
  const all = await ada.query("select repeat('x', 1000) as t from generate_series(1, 20000)");
  expect(all.rows.reduce((sum: number, { t }: { t: string }) => sum + t.length, 0)).toBe(20_000_000);
});

test("a reader that does not read holds the server back", async () => {
  const { socket } = await session(await front(), v30);
  socket.write(bytes.message("Q", "select repeat('x', 1000) from generate_series(1, 200000)\0"));
  const waiting = "select wait_event from pg_stat_activity where usename = 'ada' and query ~ '200000'";
  await expect.poll(() => postgres.sql("postgres", waiting)).toEqual([["ClientWrite"]]);
  socket.destroy();
});

test("a client that half-closes still gets its answer", async () => {
  const { socket, stream } = await session(await front(), v30);
  socket.end(bytes.message("Q", "select pg_sleep(0.05), 'still here'\0"));
  expect((await bytes.until(stream, "D")).body.toString()).toContain("still here");
});

test("two servers alternate behind one name and port", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-reader-"));
  const first = await front({ host: "127.0.0.2" });
  const second = await front({ host: "127.0.0.3", port: first.port });
  writeHosts(`${folder}/hosts.json`, { [reader]: ["127.0.0.2", "127.0.0.3"] });
  const undo = applyHosts(`${folder}/hosts.json`);
  try {
    for (let at = 0; at < 4; at++) await login({ ...first, host: reader });
  } finally {
    undo();
    await rm(folder, { recursive: true });
  }
  expect(asked.map((ask) => ask.host)).toEqual(["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
  expect([first.counters().admitted, second.counters().admitted]).toEqual([2, 2]);
});

test("bytes before login are counted as they come, and early ones apart", async () => {
  const to = await front();
  expect(to.counters()).toMatchObject({ connections: 0, bytesBeforeLogin: 0 });
  const socket = await tls(to);
  socket.write(Buffer.concat([bytes.startup(v30, "user", "ada"), bytes.message("Q", "select 1\0")]));
  await bytes.until(bytes.messages(socket), "R");
  expect(to.counters().bytesBeforeLogin).toBeGreaterThan(8);
  expect(to.counters().earlyBytes).toBe(bytes.message("Q", "select 1\0").length);
});

test("without its server, the front says that it takes no connections", async () => {
  await expect(login(await front({ upstream: "/nowhere" }))).rejects.toMatchObject({ code: "57P03" });
});

test("told to refuse, the port is closed, and opens again; sessions stay", async () => {
  const to = await front();
  const ada = await login(to);
  await to.misbehave({ is: "refusing" });
  await expect(login(to)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await ada.query("select 1");
  await to.misbehave();
  await login(to);
});

test("told to hang, it accepts and says nothing", async () => {
  const to = await front({ loginWithinMs: 50 });
  const patience = (socket: Socket): Promise<unknown> =>
    Promise.race([
      once(socket, "data"),
      once(socket, "end"),
      new Promise((answer) => setTimeout(answer, 150, "silence")),
    ]);
  await to.misbehave({ is: "hanging", at: "connection" });
  const socket = await bytes.dial(to);
  socket.write(bytes.sslRequest);
  expect(await patience(socket)).toBe("silence");

  await to.misbehave({ is: "hanging", at: "login" });
  const inside = await tls(to);
  inside.write(bytes.startup(v30, "user", "ada"));
  expect(await patience(inside)).toBe("silence");
});

test("told to show another certificate, it does", async () => {
  const to = await front();
  const identity = await createAuthority({ now: Date.now() }).then((authority) => authority.issue([host]));
  await to.misbehave({ is: "impostor", identity });
  await expect(login(to)).rejects.toMatchObject({
    code: expect.stringMatching(/UNABLE_TO_VERIFY|SELF_SIGNED|SIGNATURE/),
  });
  expect(asked).toEqual([]);
});

test("told to, it offers no TLS, sends bytes behind S, answers garbage, or asks for another login method", async () => {
  const to = await front();
  await to.misbehave({ is: "plaintext" });
  await expect(login(to)).rejects.toThrow("does not support SSL");

  const error = Buffer.from("E\0\0\0\x05x");
  await to.misbehave({ is: "smuggling", bytes: error });
  const smuggling = await bytes.dial(to);
  smuggling.write(bytes.sslRequest);
  expect((await once(smuggling, "data"))[0]).toEqual(Buffer.concat([Buffer.from("S"), error]));
  smuggling.destroy();

  await to.misbehave({ is: "garbage", at: "negotiation", bytes: Buffer.from("HTTP/1.1 400\r\n\r\n") });
  await expect(login(to)).rejects.toThrow("error establishing an SSL connection");

  await to.misbehave({ is: "asking", bytes: authentication(7) });
  const socket = await tls(to);
  socket.write(bytes.startup(v30, "user", "ada"));
  expect((await bytes.until(bytes.messages(socket), "R")).body).toEqual(Buffer.from([0, 0, 0, 7]));
  expect(asked).toEqual([]);
});

test("told to, it drops a session in the middle of an answer", async () => {
  const to = await front();
  await to.misbehave({ is: "cutting", afterBytes: 100_000 });
  const ada = await login(to);
  await expect(ada.query("select repeat('x', 1000) from generate_series(1, 1000)")).rejects.toThrow(
    /terminated|ECONNRESET/,
  );
});

test("a cut ends every session at once, and the server notices", async () => {
  const to = await front();
  const ada = await login(to);
  const { rows } = await ada.query("select pg_backend_pid() as pid");
  const ended = expect(ada.query("select pg_sleep(60)")).rejects.toThrow(/terminated|ECONNRESET/);
  expect(to.cut()).toBe(1);
  await ended;
  await postgres.sql("postgres", `select pg_terminate_backend(${rows[0].pid}, 5000)`);
});
