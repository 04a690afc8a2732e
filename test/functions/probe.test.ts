// The probe against a real PostgreSQL behind a front with TLS: who gets in, who does not, who is not there, and events that are
// nobody's. It says what came of it and nothing of what it was handed.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadRoots } from "@sallyport/aws/roots";
import { Failure } from "@sallyport/core/failure";
import type { Probed, Probing } from "@sallyport/core/probe";
import { secret } from "@sallyport/core/secret";
import { openProbe, type ProbeParts } from "@sallyport/functions/probe";
import { createAuthority } from "@sallyport/local/certificate";
import { type Front, startFront } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { context } from "./world.ts";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const canary = "canary-of-the-probe";
let postgres: Postgres;
let front: Front;
let stranger: Front;
let neighbour: Front;
let parts: ProbeParts;
let folder: string;
const fronts: Front[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-probe-"));
  const [authority, other] = [
    await createAuthority({ now: Date.now() }),
    await createAuthority({ now: Date.now(), name: "Somebody else" }),
  ];
  const file = join(folder, "ca.pem");
  await writeFile(file, authority.ca);
  const roots = await loadRoots({ file });
  postgres = await startPostgres();
  await postgres.addUser("grace", { password: secret(canary) });
  await postgres.addUser("ada", { iam: true });
  await postgres.addDatabase("orders");
  const check = (ask: { password: { reveal(): string } }) => ask.password.reveal() === `${canary}-token`;
  const open = async (identity: Parameters<typeof startFront>[0]["identity"]) => {
    const started = await startFront({ upstream: postgres.socket, identity, check });
    fronts.push(started);
    return started;
  };
  front = await open(await authority.issue([host]));
  stranger = await open(await other.issue([host]));
  neighbour = await open(await authority.issue(["billing.abc.eu-west-1.rds.amazonaws.com"]));
  parts = { roots: async () => roots, allow: ["127.0.0.0/8"], resolve: async () => ["127.0.0.1"], within: 3_000 };
});
afterAll(async () => {
  for (const started of fronts) await started.close();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

const place = (port = front.port, over: object = {}) => ({
  protocol: "postgres" as const,
  endpoint: { host, port, verifyName: host, roots: "rds" as const, ...over },
  partition: "aws",
  region: "eu-west-1",
  database: "orders",
});
const login = (user: string, password: string, methods: "clear" | "challenge" = "challenge", name = "orders") => ({
  ...place(),
  user,
  password,
  methods,
  name,
});
const logged: string[] = [];
const line = (message: string, facts = {}) => void logged.push(JSON.stringify({ message, ...facts }));
const probe = async (event: unknown, over: Partial<ProbeParts> = {}): Promise<Probed> =>
  (await openProbe({ ...parts, ...over }, { info: line, warn: line, error: line })(event, context)) as Probed;
const only = async (event: Probing, over: Partial<ProbeParts> = {}) => {
  const { nodes } = await probe(event, over);
  expect(nodes).toHaveLength(1);
  return nodes[0];
};

describe("a login", () => {
  it("with the right password, or a token, is ok", async () => {
    const ok = { address: "127.0.0.1", port: front.port, result: "ok", tls: true };
    expect(await only(login("grace", canary))).toEqual(ok);
    expect(await only(login("ada", `${canary}-token`, "clear"))).toEqual(ok);
  });

  it("with a wrong one is refused, in the database's words", async () => {
    expect(await only(login("grace", "wrong"))).toMatchObject({
      result: "refused",
      tls: true,
      code: "upstream_refused",
      reason: expect.stringContaining("password authentication failed"),
    });
    expect(await only(login("grace", canary, "challenge", "nowhere"))).toMatchObject({ result: "refused" });
  });

  it("sends a password in clear to nobody who should not ask for it", async () => {
    expect(await only(login("ada", canary))).toMatchObject({
      result: "refused",
      hint: expect.stringContaining("never sent in clear"),
    });
  });

  it("happens at every address of the name, each with an answer of its own", async () => {
    const { nodes } = await probe(login("grace", canary), {
      resolve: async () => ["127.0.0.1", "169.254.169.254", "127.0.0.1", "127.9.9.9"],
    });
    expect(nodes.map(({ address, result }) => [address, result])).toEqual([
      ["127.0.0.1", "ok"],
      ["169.254.169.254", "unreachable"],
      ["127.9.9.9", "unreachable"],
    ]);
  });
});

describe("without a password", () => {
  it("goes as far as verified TLS, and logs in as nobody", async () => {
    expect(await only(place())).toEqual({ address: "127.0.0.1", port: front.port, result: "ok", tls: true });
  });

  it("tells a certificate that is not AWS's, or not for this name, from nobody there", async () => {
    expect(await only(place(stranger.port))).toMatchObject({
      result: "unreachable",
      tls: false,
      code: "upstream_untrusted",
      reason: expect.stringContaining("not from an authority of AWS"),
    });
    const verifyName = "other.abc.eu-west-1.rds.amazonaws.com";
    expect(await only(place(front.port, { verifyName }))).toMatchObject({
      code: "upstream_untrusted",
      reason: expect.stringContaining(`not for ${verifyName}`),
    });
    const closed = createServer();
    const port = await new Promise<number>((resolve) =>
      closed.listen(0, "127.0.0.1", () => resolve((closed.address() as { port: number }).port)),
    );
    await new Promise((resolve) => closed.close(resolve));
    expect(await only(place(port))).toMatchObject({
      result: "unreachable",
      code: "upstream_unreachable",
      reason: expect.stringContaining("nothing listens"),
      hint: expect.stringContaining("stopped"),
    });
  });

  it("says when the name leads nowhere, and gives up on who does not answer", async () => {
    const nowhere = () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }));
    expect(await only(place(), { resolve: nowhere })).toMatchObject({
      address: host,
      result: "unreachable",
      reason: expect.stringContaining("does not resolve"),
    });
    const silent = createServer((socket) => void socket.resume().on("error", () => {}));
    const port = await new Promise<number>((resolve) =>
      silent.listen(0, "127.0.0.1", () => resolve((silent.address() as { port: number }).port)),
    );
    try {
      expect(await only(place(port), { within: 150 })).toMatchObject({ result: "unreachable", tls: false });
    } finally {
      await new Promise((resolve) => silent.close(resolve));
    }
  });
});

it("S-35 a neighbour that the name was bent to, with a certificate of AWS's for itself, sees no login", async () => {
  const event = { ...login("ada", `${canary}-token`, "clear"), endpoint: place(neighbour.port).endpoint };
  expect(await only(event)).toMatchObject({ result: "unreachable", tls: false, code: "upstream_untrusted" });
  const { connections, admitted, refused, earlyBytes } = neighbour.counters();
  expect({ connections, admitted, refused, earlyBytes }).toEqual({
    connections: 1,
    admitted: 0,
    refused: 0,
    earlyBytes: 0,
  });
});

describe("S-45 events", () => {
  it.each<[string, () => unknown]>([
    ["nothing", () => ({})],
    ["no object", () => "x"],
    ["a schedule's", () => ({ source: "aws.events", "detail-type": "Scheduled Event" })],
    ["an unknown protocol", () => ({ ...login("grace", canary), protocol: "gopher" })],
    ["a member too many", () => ({ ...login("grace", canary), command: "id" })],
    ["a user without a password", () => ({ ...place(), user: "grace" })],
    ["a password without a user", () => ({ ...place(), password: canary, methods: "clear" })],
    ["an empty password", () => login("grace", "")],
    ["a user with a NUL", () => login("gr\0ace", canary)],
    ["a port that is none", () => place(0)],
    ["an endpoint with more", () => place(5432, { allow: ["0.0.0.0/0"] })],
    [
      "S-35 an address of the metadata service",
      () => place(80, { host: "169.254.169.254", verifyName: "169.254.169.254" }),
    ],
    ["S-35 a host of somebody else's", () => place(5432, { host: "evil.example" })],
    ["S-35 a look-alike host", () => place(5432, { host: `${host}.evil.example` })],
    ["S-35 a host with a dot behind it", () => place(5432, { host: `${host}.` })],
    ["S-35 a host of another region", () => place(5432, { host: "orders.abc.us-east-1.rds.amazonaws.com" })],
    ["S-35 a name to verify that is somebody else's", () => place(5432, { verifyName: "evil.example" })],
    ["S-35 a partition that is none", () => ({ ...place(), partition: "aws-mars" })],
  ])("S-45 %s is refused, and nothing is dialled", async (_, make) => {
    let resolved = 0;
    const resolve = async () => {
      resolved += 1;
      return ["127.0.0.1"];
    };
    const thrown = await probe(make(), { resolve }).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(Failure);
    expect([(thrown as Failure).code, resolved]).toEqual(["invalid", 0]);
  });
});

it("S-40 no password is in what it logs, answers or throws", async () => {
  logged.splice(0);
  const said: unknown[] = [];
  for (const event of [
    login("grace", canary),
    login("grace", `${canary}-wrong`),
    login("ada", `${canary}-token`, "clear"),
    { ...login("grace", canary), more: canary },
  ])
    said.push(await probe(event).catch((error: unknown) => String(error)));
  expect(logged.length).toBeGreaterThan(3);
  expect(JSON.stringify([said, logged])).not.toContain(canary);
});
