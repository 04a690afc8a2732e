import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { applyHosts, writeHosts } from "@sallyport/local/hosts";
import type { Ask } from "@sallyport/local/postgres/context";
import { authentication } from "@sallyport/local/postgres/fault";
import { type Front, type FrontOptions, startFront } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import * as bytes from "./postgres-bytes.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const reader = "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com";
const token = `${host}:5432/?Action=connect&DBUser=ada&X-Amz-Signature=${"0".repeat(1500)}`;
const v30 = 0x30000;
const v32 = 0x30002;

let postgres: Postgres;
let certificate: Certificate;
const fronts: Front[] = [];
const clients: pg.Client[] = [];
const asked: Ask[] = [];

beforeAll(async () => {
  const authority = await createAuthority({ now: Date.now() });
  certificate = await authority.issue([host, reader]);
  postgres = await startPostgres();
  await postgres.addUser("ada", { iam: true });
  await postgres.addUser("user", { iam: true });
  await postgres.addUser("grace", { password: secret("hopper") });
  await postgres.addDatabase("orders");
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})));
  await Promise.all(fronts.splice(0).map((front) => front.close()));
  asked.splice(0);
});
afterAll(() => postgres.stop());

const front = async (options: Partial<FrontOptions> = {}): Promise<Front> => {
  const check = (ask: Ask): boolean => {
    asked.push(ask);
    return ask.password.reveal() === token;
  };
  const started = await startFront({ upstream: postgres.socket, identity: certificate, check, ...options });
  fronts.push(started);
  return started;
};

interface Login {
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  readonly sslnegotiation?: "direct";
}
const client = (to: Front, login: Login = {}): pg.Client => {
  const { user = "ada", password = token, database = "orders", ...rest } = login;
  const ssl = { ca: certificate.ca, servername: host };
  const made = new pg.Client({ host: to.host, port: to.port, user, password, database, ssl, ...rest });
  made.on("error", () => {}); // a session that is cut fails its query too
  clients.push(made);
  return made;
};
const login = async (to: Front, as: Login = {}): Promise<pg.Client> => {
  const made = client(to, as);
  await made.connect();
  return made;
};
const tls = (to: Front): Promise<TLSSocket> => bytes.dialTls(to, { ca: certificate.ca, servername: host });

/** The error that the port answers to these bytes in plain text, and then the end of the stream. */
const refusal = async (socket: Socket, ...packets: readonly Buffer[]): Promise<string> => {
  socket.write(Buffer.concat(packets));
  const stream = bytes.messages(socket);
  const { body } = await bytes.until(stream, "E");
  expect((await stream.next()).done).toBe(true);
  return bytes.errorText(body);
};

/** A session at protocol level, ready for a query, with its cancel key. */
const session = async (to: Front, version: number) => {
  const socket = await tls(to);
  socket.write(bytes.startup(version, "user", "ada", "database", "orders"));
  const stream = bytes.messages(socket);
  expect((await bytes.until(stream, "R")).body).toEqual(Buffer.from([0, 0, 0, 3]));
  socket.write(bytes.message("p", `${token}\0`));
  const { body: key } = await bytes.until(stream, "K");
  await bytes.until(stream, "Z");
  return { socket, stream, key };
};
const cancelOf = (key: Buffer): Buffer => bytes.packet(80_877_102, key);

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
