import { once } from "node:events";
import type { Front } from "@sallyport/local/postgres/front";
import pg from "pg";
import { expect, test } from "vitest";
import * as bytes from "./postgres-bytes.ts";
import {
  asked,
  cancelOf,
  certificate,
  front,
  host,
  login,
  refusal,
  session,
  tls,
  token,
  v30,
  v32,
} from "./postgres-stage.ts";

test("an IAM user gets in with a good token, and is exactly that user inside", async () => {
  const to = await front();
  const ada = await login(to);
  const { rows } = await ada.query("select current_user, session_user, current_database()");
  expect(rows).toEqual([{ current_user: "ada", session_user: "ada", current_database: "orders" }]);
  expect(asked).toMatchObject([
    { user: "ada", database: "orders", servername: host, host: "127.0.0.1", port: to.port },
  ]);
  expect(to.counters()).toMatchObject({ connections: 1, admitted: 1, refused: 0, earlyBytes: 0 });
});

test("an IAM user with a bad token is refused in the words of RDS", async () => {
  const to = await front();
  await expect(login(to, { password: `${token}x` })).rejects.toMatchObject({
    code: "28P01",
    severity: "FATAL",
    message: 'PAM authentication failed for user "ada"',
  });
  expect(to.counters()).toMatchObject({ admitted: 0, refused: 1 });
});

test("a check that fails lets nobody in", async () => {
  const check = (): Promise<boolean> => Promise.reject(new Error("out of order"));
  await expect(login(await front({ check }))).rejects.toThrow("Connection terminated unexpectedly");
});

test("S-25 a user of the name `user` is checked under that name", async () => {
  const ada = await login(await front(), { user: "user" });
  expect((await ada.query("select current_user")).rows).toEqual([{ current_user: "user" }]);
  expect(asked).toMatchObject([{ user: "user" }]);
});

test("the token is asked for also when the server first negotiates the protocol", async () => {
  const to = await front();
  const socket = await tls(to);
  const stream = bytes.messages(socket);
  socket.write(bytes.startup(0x3270f, "user", "ada", "database", "orders", "_pq_.unknown", "1"));
  expect((await stream.next()).value).toMatchObject({ type: "v" });
  expect((await stream.next()).value).toMatchObject({ type: "R", body: Buffer.from([0, 0, 0, 3]) });
  socket.write(bytes.message("p", "nonsense\0"));
  expect(bytes.errorText((await bytes.until(stream, "E")).body)).toBe(
    '28P01: PAM authentication failed for user "ada"',
  );
});

test("rdsadmin is refused, and so is its database, whatever the token", async () => {
  const to = await front({ check: () => true });
  for (const as of [{ user: "rdsadmin" }, { database: "rdsadmin" }])
    await expect(login(to, as)).rejects.toMatchObject({
      code: "28000",
      message: expect.stringContaining("pg_hba.conf rejects"),
    });
  expect(to.counters()).toMatchObject({ admitted: 0 });
});

test("a password user gets in by SCRAM with the password, and with nothing else", async () => {
  const to = await front();
  const grace = await login(to, { user: "grace", password: "hopper" });
  expect((await grace.query("select current_user")).rows).toEqual([{ current_user: "grace" }]);
  await expect(login(to, { user: "grace", password: token })).rejects.toMatchObject({ code: "28P01" });
  expect(asked).toEqual([]);
});

test("an unknown user is refused as one with a wrong password is", async () => {
  await expect(login(await front(), { user: "nobody" })).rejects.toMatchObject({
    code: "28P01",
    message: 'password authentication failed for user "nobody"',
  });
});

test("an unknown database is the server's to refuse, after the token", async () => {
  const to = await front();
  await expect(login(to, { database: "nowhere" })).rejects.toMatchObject({ code: "3D000" });
  await expect(login(to, { database: "nowhere", password: "" })).rejects.toMatchObject({ code: "28P01" });
});

test("S-21 a plaintext login is refused with SQLSTATE 28000", async () => {
  const to = await front();
  const plain = new pg.Client({ host: to.host, port: to.port, user: "ada", password: token, database: "orders" });
  await expect(plain.connect()).rejects.toMatchObject({
    code: "28000",
    message: expect.stringContaining("no encryption"),
  });
  expect(await refusal(await bytes.dial(to), bytes.startup(v30, "user", "grace"))).toMatch(
    /^28000: no pg_hba.conf entry/,
  );
  expect(to.counters()).toMatchObject({ admitted: 0 });
});

test("S-20 bytes behind an encryption request end the connection unread", async () => {
  const to = await front();
  const smuggled = bytes.startup(v30, "user", "ada");
  expect(await refusal(await bytes.dial(to), bytes.sslRequest, smuggled)).toMatch(/^08P01: received unencrypted data/);
  expect(await refusal(await bytes.dial(to), bytes.gssRequest, bytes.sslRequest)).toMatch(/^08P01/);
  expect(asked).toEqual([]);
});

test("S-20 plain bytes between S and the handshake are taken for TLS, and end it", async () => {
  const to = await front();
  const socket = await bytes.dial(to);
  socket.write(bytes.sslRequest);
  expect((await once(socket, "data"))[0]).toEqual(Buffer.from("S"));
  socket.write(bytes.startup(v30, "user", "ada"));
  const answer = await bytes.rest(socket);
  expect(answer.subarray(0, 1)).not.toEqual(Buffer.from("E")); // at most a TLS alert
  expect(to.counters()).toMatchObject({ admitted: 0, refused: 0 });
});

test("S-25 GSS is refused with N, once, and TLS may follow", async () => {
  const to = await front();
  const socket = await bytes.dial(to);
  socket.write(bytes.gssRequest);
  expect((await once(socket, "data"))[0]).toEqual(Buffer.from("N"));
  socket.write(bytes.sslRequest);
  expect((await once(socket, "data"))[0]).toEqual(Buffer.from("S"));
  const stream = await bytes.encrypt(socket, { ca: certificate.ca, servername: host });
  expect(await refusal(stream, bytes.startup(v30, "user", "rdsadmin"))).toMatch(/^28000/);

  const again = await bytes.dial(to);
  again.write(bytes.gssRequest);
  await once(again, "data");
  expect(await refusal(again, bytes.gssRequest)).toMatch(/^0A000/);
});

test("S-25 a second SSLRequest, inside TLS, is refused", async () => {
  expect(await refusal(await tls(await front()), bytes.sslRequest)).toMatch(/^0A000/);
});

test("direct TLS works on the same port", async () => {
  const ada = await login(await front(), { sslnegotiation: "direct" });
  expect((await ada.query("select current_user")).rows).toEqual([{ current_user: "ada" }]);
});

test("S-24 direct TLS without ALPN, or with another one, is refused", async () => {
  const to = await front();
  const options = { ca: certificate.ca, servername: host };
  const silent = await bytes.encrypt(await bytes.dial(to), options).then(bytes.rest, () => Buffer.alloc(0));
  expect(silent).toHaveLength(0);
  await expect(bytes.encrypt(await bytes.dial(to), { ...options, ALPNProtocols: ["http/1.1"] })).rejects.toThrow();
  const right = await bytes.encrypt(await bytes.dial(to), { ...options, ALPNProtocols: ["postgresql"] });
  expect(right.alpnProtocol).toBe("postgresql");
  right.destroy();
});

test.each([
  ["HTTP", Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n")],
  ["a length of zero", Buffer.alloc(8)],
  ["a negative length", Buffer.from("ffffffff00030000", "hex")],
  ["a length over the limit", Buffer.from("0000271100030000", "hex")],
])("S-23 %s is refused in a packet", async (_, first) => {
  expect(await refusal(await bytes.dial(await front()), first)).toMatch(/^08P01/);
});

test("S-23 a password over the limit, or of another type, is refused", async () => {
  const to = await front();
  for (const message of [bytes.message("p", `${"x".repeat(20_000)}\0`), bytes.message("Q", "select 1\0")]) {
    const socket = await tls(to);
    socket.on("error", () => {}); // the port may reset while we still send
    socket.write(bytes.startup(v30, "user", "ada"));
    const stream = bytes.messages(socket);
    await bytes.until(stream, "R");
    socket.write(message);
    expect(bytes.errorText((await bytes.until(stream, "E")).body)).toMatch(/^08P01/);
  }
  expect(to.counters()).toMatchObject({ admitted: 0, refused: 0 });
});

test("S-22 who does not log in within the time is dropped, at every stage", async () => {
  const to = await front({ loginWithinMs: 150 });
  const halfway = await tls(to);
  halfway.write(bytes.startup(v30, "user", "ada"));
  const silent = [await bytes.dial(to), await bytes.dial(to), await tls(to), halfway];
  silent[1]?.write(bytes.sslRequest.subarray(0, 5));
  await Promise.all(silent.map((socket) => once(socket.resume(), "end")));
  const ada = await login(to);
  await ada.query("select pg_sleep(0.2)"); // a session outlives the deadline
});

test("S-22 half a packet delays nobody else", async () => {
  const to = await front();
  const halves = [await bytes.dial(to), await tls(to)];
  for (const socket of halves) socket.write(bytes.startup(v30, "user", "ada").subarray(0, 7));
  await login(to);
  for (const socket of halves) socket.destroy();
});

test.each([
  ["in plain text", (to: Front) => bytes.dial(to)],
  ["inside TLS", (to: Front) => tls(to)],
])("a cancel reaches the server, %s", async (_, open) => {
  const to = await front();
  for (const version of [v30, v32]) {
    const { socket, stream, key } = await session(to, version);
    expect(key).toHaveLength(version === v30 ? 8 : 36);
    socket.write(bytes.message("Q", "do 'begin raise notice ''on it''; perform pg_sleep(60); end'\0"));
    await bytes.until(stream, "N");
    const canceller = await open(to);
    canceller.write(cancelOf(key));
    expect(await bytes.rest(canceller)).toHaveLength(0); // the end of the stream says it is done
    expect(bytes.errorText((await bytes.until(stream, "E")).body)).toMatch(/^57014/);
    socket.destroy();
  }
  expect(to.counters()).toMatchObject({ cancels: 2 });
});
