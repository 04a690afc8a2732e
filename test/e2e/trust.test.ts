// The proxies' certificate on a whole laptop account: issued by certify, verified in full by real clients, renewed under living
// sessions, and good for nothing else.
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { SignCommand } from "@aws-sdk/client-kms";
import { GetSecretValueCommand, PutSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import { signerClient } from "@sallyport/aws/signer";
import { vaultClient } from "@sallyport/aws/vault";
import { enterGate } from "@sallyport/cli/gate";
import { makeKeyPair } from "@sallyport/cli/key";
import { type Client, openClient } from "@sallyport/client/client";
import type { ConnectAnswer } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import { pinOf } from "@sallyport/local/certificate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorOf, enter, eventually } from "./attack.ts";
import { isOnPath, run } from "./clients/program.ts";
import { libpqEnv } from "./clients/way.ts";
import { openOwnTable, type Table } from "./owner.ts";
import { certSecret, connectionOf, readTrustItem, renew } from "./renewal.ts";
import { openWorld, plainly, type World } from "./world.ts";

const noPsql = "psql is not on PATH: apt install postgresql-client";

let world: World;
let table: Table;
let ana: Client;
beforeAll(async () => {
  world = await openWorld({ proxies: 2, proxyEnv: { SALLYPORT_CERT_SECONDS: "1" } });
  table = openOwnTable(world.laptop);
  ana = await world.person("ana", ["dev"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

const bound = async () => {
  const key = makeKeyPair();
  const wish = { database: "orders", user: "reader", name: "orders", key: key.publicKey };
  return { key, answer: await ana.call("connect", wish) };
};
/** Through the gate as `sally` goes: chain and pin verified. */
const goThrough = ({ key, answer }: { key: ReturnType<typeof makeKeyPair>; answer: ConnectAnswer }) =>
  enterGate({ gate: answer.gate, token: secret(answer.token), key }, "127.0.0.1:1", AbortSignal.timeout(20_000));
const select = (answer: ConnectAnswer, over: Readonly<Record<string, string>> = {}) =>
  run("psql", ["-XAtc", "select current_user"], { env: { ...libpqEnv(plainly(world.laptop, answer)), ...over } });

const session = async (principal: string) =>
  connectionOf(
    world.laptop,
    world.laptop.account.session(`sallyport-${principal}`, { sessionName: "test" }).credentials,
  );

describe("what clients are told", () => {
  it("is the same in /v1/trust, which asks for no login, in each answer, and what is shown", async () => {
    const told = await openClient({ api: world.laptop.api }).call("trust", {});
    const answer = await world.bearer(ana);
    expect(told).toEqual({ ca: answer.gate.ca, pins: answer.gate.pins });
    expect(answer.direct?.ca).toBe(told.ca);
    expect(told.pins).toHaveLength(2);
    const { leaves, next, roots } = await readTrustItem(table);
    expect([leaves.map(({ pin }) => pin), next?.pin, roots.length]).toEqual([[told.pins[0]], told.pins[1], 1]);
  });
});

describe("a renewal", () => {
  it("disturbs no session, and answers from before it are good after it, in both ways in", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const [plain, tunnel] = [await world.bearer(ana), await bound()];
    const inside = await enter(doorOf(world.laptop, plain));
    const throughGate = await goThrough(tunnel);
    const before = throughGate.getPeerX509Certificate()?.serialNumber;
    const trust = await renew(world.laptop, table, "more.test");
    expect(trust.leaves).toHaveLength(2);
    await eventually(
      "both proxies take the new certificate",
      () => world.proxies.every((proxy) => proxy.log().includes("certificate.swap")),
      20_000,
    );
    expect(await inside.query("select 'still here'")).toEqual(["still here"]);
    inside.close();
    expect(throughGate.destroyed).toBe(false);
    throughGate.destroy();
    // the answers of before
    expect(await select(plain)).toMatchObject({ status: 0, stdout: "reader\n" });
    const again = await goThrough(tunnel);
    expect(again.getPeerX509Certificate()?.serialNumber).not.toBe(before);
    again.destroy();
    // it was the announced pin that let it in
    const [old = ""] = tunnel.answer.gate.pins;
    const narrow = { ...tunnel, answer: { ...tunnel.answer, gate: { ...tunnel.answer.gate, pins: [old] } } };
    await expect(goThrough(narrow)).rejects.toMatchObject({ code: "upstream_untrusted" });
    // and today's
    (await goThrough(await bound())).destroy();
    expect(await select(await world.bearer(ana))).toMatchObject({ status: 0 });
  });

  it("a secret that somebody broke is not taken, is an error in the log, and people still get in", async () => {
    const { credentials } = world.laptop.account.addUser({
      name: "clumsy",
      statements: [{ actions: ["secretsmanager:*"], resources: ["*"] }],
    });
    const client = vaultClient(connectionOf(world.laptop, credentials));
    const { VersionId } = await client.send(
      new PutSecretValueCommand({ SecretId: certSecret, SecretString: '{"cert": "canary", "key": "canary"}' }),
    );
    expect(VersionId).toBeDefined();
    await eventually(
      "both proxies refuse it",
      () => world.proxies.every((proxy) => proxy.log().includes("certificate.refused")),
      20_000,
    );
    expect(world.proxies.map((proxy) => proxy.log()).join("")).not.toContain("canary");
    (await goThrough(await bound())).destroy();
    // certify finds it and issues another, for whoever holds today's answers too
    const held = await bound();
    await world.laptop.runtime.invoke("certify", {});
    const { leaves } = await readTrustItem(table);
    const shown = async (): Promise<string> => {
      const socket = await goThrough(await bound());
      const pin = socket.getPeerX509Certificate();
      socket.destroy();
      return pin?.serialNumber ?? "";
    };
    expect(leaves).toHaveLength(3);
    const current = await client.send(new GetSecretValueCommand({ SecretId: certSecret }));
    const { cert } = JSON.parse(current.SecretString ?? "{}") as { cert: string };
    await eventually("it is shown", async () => (await shown()) === new X509Certificate(cert).serialNumber, 20_000);
    expect(held.answer.gate.pins.length).toBeGreaterThan(1);
    client.destroy();
  });
});

/** Signed by the key of `leaf`, for localhost: what somebody who has stolen a proxy's key might try. */
const forge = async (leaf: { cert: string; key: string }): Promise<{ cert: string; key: string }> => {
  const folder = await mkdtemp(join(tmpdir(), "forged-"));
  const at = (name: string): string => join(folder, name);
  const openssl = async (args: string): Promise<void> => {
    const { status, stderr } = await run("openssl", args.split(" "));
    expect([status, stderr]).toMatchObject([0, expect.anything()]);
  };
  try {
    await writeFile(at("leaf.pem"), leaf.cert);
    await writeFile(at("leaf.key"), leaf.key);
    await writeFile(at("names"), "subjectAltName=DNS:localhost\n");
    await openssl(
      `req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout ${at("key")} -out ${at("csr")}`,
    );
    await openssl(
      `x509 -req -in ${at("csr")} -CA ${at("leaf.pem")} -CAkey ${at("leaf.key")} -set_serial 7 -days 2 -extfile ${at("names")} -out ${at("cert")}`,
    );
    return { cert: `${await readFile(at("cert"), "utf8")}\n${leaf.cert}`, key: await readFile(at("key"), "utf8") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Answers requests for encryption and then TLS with this certificate; nothing behind it. */
const openImpostor = async (identity: { cert: string; key: string }) => {
  const server = createServer({ ...identity, ALPNProtocols: ["sallyport/1"] });
  server.on("tlsClientError", () => {});
  const front = createTcpServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (first: Buffer) => {
      socket.pause();
      if (first[0] === 0x16) socket.unshift(first);
      else socket.write("S");
      server.emit("connection", socket);
    });
  });
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  const address = front.address();
  return { port: typeof address === "object" && address ? address.port : 0, close: () => front.close() };
};

describe("the certificate is good for nothing else", () => {
  it("S-21 a certificate signed by a leaf of ours is refused: by psql, and at the gate by the tunnel", async ({
    skip,
  }) => {
    skip(!isOnPath("psql") || !isOnPath("openssl"), `${noPsql} openssl`);
    const { credentials } = world.laptop.account.addUser({
      name: "thief",
      statements: [{ actions: ["secretsmanager:GetSecretValue"], resources: ["*"] }],
    });
    const client = vaultClient(connectionOf(world.laptop, credentials));
    const { SecretString = "" } = await client.send(new GetSecretValueCommand({ SecretId: certSecret }));
    client.destroy();
    const forged = await forge(JSON.parse(SecretString) as { cert: string; key: string });
    const impostor = await openImpostor(forged);
    const { key, answer } = await bound();
    // even one who vouched for the forger's own pin
    const pins = [...answer.gate.pins, pinOf(forged.cert)];
    const gate = { ...answer.gate, port: impostor.port, pins };
    await expect(goThrough({ key, answer: { ...answer, gate } })).rejects.toMatchObject({
      code: "upstream_untrusted",
      cause: { message: "key usage does not include certificate signing" },
    });
    const { status, stderr } = await select(await world.bearer(ana), { PGPORT: String(impostor.port) });
    expect([status, stderr]).toEqual([2, expect.stringContaining("certificate verify failed")]);
    impostor.close();
  });

  it("S-44 a proxy can't read the key of the next certificate, and can't sign with the root's", async () => {
    const connection = await session("proxy");
    const [secrets, kms] = [vaultClient(connection), signerClient(connection)];
    const read = (over: object) => secrets.send(new GetSecretValueCommand({ SecretId: certSecret, ...over }));
    expect((await read({ VersionStage: "AWSCURRENT" })).SecretString).toContain("PRIVATE KEY");
    const { next } = await readTrustItem(table);
    for (const over of [{ VersionStage: "AWSPENDING" }, { VersionId: next?.version }])
      await expect(read(over)).rejects.toMatchObject({ name: "AccessDeniedException" });
    const sign = { KeyId: "alias/sallyport-root", MessageType: "DIGEST", SigningAlgorithm: "ECDSA_SHA_256" } as const;
    await expect(kms.send(new SignCommand({ ...sign, Message: Buffer.alloc(32) }))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    for (const one of [secrets, kms]) one.destroy();
  });

  it("S-44 certify itself signs digests alone, and writes no other family and no other secret", async () => {
    const connection = await session("certify");
    const [secrets, kms] = [vaultClient(connection), signerClient(connection)];
    const raw = { KeyId: "alias/sallyport-root", MessageType: "RAW", SigningAlgorithm: "ECDSA_SHA_256" } as const;
    await expect(kms.send(new SignCommand({ ...raw, Message: Buffer.from("x") }))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    await expect(
      secrets.send(new GetSecretValueCommand({ SecretId: "sallyport/proxy/cancel-key" })),
    ).rejects.toMatchObject({ name: "AccessDeniedException" });
    for (const one of [secrets, kms]) one.destroy();
  });

  it("no private key is in the table or in any log", async () => {
    const told = JSON.stringify([await table.all(), world.laptop.runtime.log(), world.proxies.map((one) => one.log())]);
    expect(told).toContain("sha256/");
    expect(told).not.toContain("PRIVATE KEY");
  });
});
