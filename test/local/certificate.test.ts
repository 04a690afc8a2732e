import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:tls";
import { createAuthority, pinOf } from "@sallyport/local/certificate";
import { expect, test } from "vitest";

const now = Date.now();

/** What a client that trusts `ca` makes of this server certificate. */
const handshake = async (identity: { cert: string; key: string }, ca: string, servername: string): Promise<string> => {
  const server = createServer(identity, (socket) => socket.end());
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  try {
    return await new Promise((answer) => {
      const client = connect({ host: "127.0.0.1", port, ca, servername }, () => {
        answer(client.authorized ? "verified" : "unverified");
        client.destroy();
      });
      client.on("error", (error: NodeJS.ErrnoException) => answer(error.code ?? error.message));
    });
  } finally {
    server.close();
  }
};

test("a leaf verifies for its names and addresses, and for no other", async () => {
  const authority = await createAuthority({ now });
  const leaf = await authority.issue(["orders.abc.eu-west-1.rds.amazonaws.com", "127.0.0.1"]);
  expect(leaf.ca).toBe(authority.ca);
  expect(await handshake(leaf, leaf.ca, "orders.abc.eu-west-1.rds.amazonaws.com")).toBe("verified");
  expect(await handshake(leaf, leaf.ca, "other.abc.eu-west-1.rds.amazonaws.com")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  expect(new X509Certificate(leaf.cert).checkIP("127.0.0.1")).toBe("127.0.0.1");
});

test("a leaf of another authority of the same name does not verify", async () => {
  const [ours, theirs] = await Promise.all([createAuthority({ now }), createAuthority({ now })]);
  const leaf = await theirs.issue(["db.test"]);
  expect(await handshake(leaf, ours.ca, "db.test")).not.toBe("verified");
});

test("a leaf is valid when its lifetime says, not before and not after", async () => {
  const authority = await createAuthority({ now });
  const past = await authority.issue(["db.test"], { notBeforeAt: now - 2 * 86_400_000, notAfterAt: now - 60_000 });
  const future = await authority.issue(["db.test"], { notBeforeAt: now + 60_000, notAfterAt: now + 86_400_000 });
  expect(await handshake(past, past.ca, "db.test")).toBe("CERT_HAS_EXPIRED");
  expect(await handshake(future, future.ca, "db.test")).toBe("CERT_NOT_YET_VALID");
});

test("a leaf can't sign, and its root signs leaves only", async () => {
  const authority = await createAuthority({ now });
  const leaf = await authority.issue(["db.test"]);
  expect(new X509Certificate(leaf.cert).ca).toBe(false);
  expect(new X509Certificate(authority.ca).ca).toBe(true);
});

test("the pin is the digest of the public key, in the PEM and on the wire alike", async () => {
  const authority = await createAuthority({ now });
  const leaf = await authority.issue(["db.test"]);
  expect(leaf.pin).toMatch(/^sha256\/[A-Za-z0-9+/]{43}=$/);
  expect(pinOf(leaf.cert)).toBe(leaf.pin);
  expect(pinOf(authority.ca)).not.toBe(leaf.pin);
});
