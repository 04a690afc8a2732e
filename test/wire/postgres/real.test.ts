// Against a real PostgreSQL behind its TLS front: what a database in AWS would answer.
import { once } from "node:events";
import { connect as dial, type Socket } from "node:net";
import { connect as secure } from "node:tls";
import type { Credential } from "@sallyport/core/credential";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { type Front, startFront } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import { postgres as protocol } from "@sallyport/wire/postgres/postgres";
import type { Upstream } from "@sallyport/wire/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { errorOf, failed, grantFor, link, message, session } from "../door.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const sockets: Socket[] = [];
let postgres: Postgres;
let certificate: Certificate;
let front: Front;

beforeAll(async () => {
  certificate = await (await createAuthority({ now: Date.now() })).issue([host]);
  postgres = await startPostgres();
  await postgres.addUser("ada", { iam: true });
  await postgres.addUser("grace", { password: secret("hopper") });
  await postgres.addDatabase("orders", "ada");
  front = await startFront({
    upstream: postgres.socket,
    identity: certificate,
    check: ({ password }) => password.reveal() === "iam-token",
  });
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await front?.close();
  await postgres?.stop();
});

const upstreamAs = (credential: Credential): Upstream => ({
  database: { name: "orders", endpoint: makeDatabase().endpoint },
  tcp: async () => {
    const socket = dial(front.port, "127.0.0.1");
    sockets.push(socket);
    await once(socket, "connect");
    return { socket, peer: { address: "127.0.0.1", port: front.port } };
  },
  secure: async (socket) => {
    const secured = secure({ socket, ca: certificate.ca, servername: host });
    sockets.push(secured);
    await once(secured, "secureConnect");
    return secured;
  },
  credential: async () => credential,
});
const token = (value = "iam-token"): Credential => ({
  ...{ as: "password", user: "ada", methods: "clear" },
  password: secret(value),
});
const password = (value: string, methods: "clear" | "challenge" = "challenge"): Credential => ({
  ...{ as: "password", user: "grace", methods },
  password: secret(value),
});
const logIn = (credential: Credential, name = "orders") =>
  protocol.login(upstreamAs(credential), grantFor({ user: credential.user, name }));

test("logs in with an IAM token and runs a statement as that user", async () => {
  const server = await logIn(token());
  expect(server.key?.secret.length).toBe(4);
  expect(await protocol.run(server, "select current_user, null")).toEqual([["ada", null]]);
  expect(await protocol.run(server, "select $1::int + 1", ["41"])).toEqual([["42"]]);
  expect(await failed(protocol.run(server, "selec"))).toMatchObject({ details: { sqlstate: "42601" } });
  expect(await protocol.run(server, "select 1; select 2")).toEqual([["1"], ["2"]]);
  server.socket.destroy();
});

test("logs in with a password by SCRAM-SHA-256", async () => {
  const server = await logIn(password("hopper"), "postgres");
  expect(await protocol.run(server, "select current_user")).toEqual([["grace"]]);
  server.socket.destroy();
});

test.each([
  ["a wrong token", token("other"), "orders", "28"],
  ["a wrong password", password("wrong"), "postgres", "28P01"],
  ["a database that is not there", token(), "nowhere", "3D000"],
] as [string, Credential, string, string][])(
  "is refused with %s in the server's words",
  async (_name, credential, name, state) => {
    const failure = await failed(logIn(credential, name));
    expect(failure.code).toBe("upstream_refused");
    expect(String(failure.details?.["sqlstate"]).startsWith(state)).toBe(true);
  },
);

test("S-33 an IAM token is not proved by SCRAM, nor a password sent in clear", async () => {
  expect((await failed(logIn(password("hopper", "clear"), "postgres"))).code).toBe("upstream_refused");
  expect((await failed(logIn({ ...token(), methods: "challenge" } as Credential))).code).toBe("upstream_refused");
});

test("cancels what a session runs, and tells the whole story", async () => {
  const upstream = upstreamAs(token());
  const server = await protocol.login(upstream, grantFor({ user: "ada" }));
  const [client, seen] = [link(), session()];
  await protocol.welcome({ socket: client.ours, minor: 2 }, server, seen.own);
  const done = protocol.relay({ socket: client.ours, minor: 2 }, server, seen.live);
  await client.until((bytes) => bytes.includes(message("Z", "I")));
  const before = client.received().length;
  client.theirs.write(message("Q", "select pg_sleep(60)\0"));
  const running = "select 1 from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'";
  while ((await postgres.sql("postgres", running)).length === 0);
  await protocol.cancel(server, upstream);
  const said = await client.until((bytes) => bytes.subarray(before).includes(message("Z", "I")));
  expect(errorOf(said)).toMatchObject({ C: "57014" });
  const copied = client.received().length;
  client.theirs.write(message("Q", "copy (select generate_series(1, 100000)) to stdout\0"));
  const copy = await client.until((bytes) => bytes.subarray(copied).includes(message("Z", "I")));
  client.theirs.end(message("X"));
  expect(await done).toEqual({ by: "client" });
  expect(copy.length - copied).toBeGreaterThan(500_000);
  expect(seen.lines()).toMatchObject([
    { type: "query", text: "select pg_sleep(60)" },
    { type: "error", sqlState: "57014" },
    { type: "query" },
    { type: "complete", tag: "COPY 100000", rows: 100_000, copied: 588_895 },
  ]);
});
