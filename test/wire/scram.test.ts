import { createHash, X509Certificate } from "node:crypto";
import { secret } from "@sallyport/core/secret";
import { endPoint, prepare, startScram } from "@sallyport/wire/scram";
import { describe, expect, test } from "vitest";
import { certificates } from "../vectors/certificates.ts";
import { rfc7677 as vector } from "../vectors/scram.ts";
import { failed } from "./door.ts";
import { startScramServer } from "./scram-server.ts";

const binding = createHash("sha256").update("certificate").digest();
const offered = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
const start = (over: Partial<Parameters<typeof startScram>[0]> = {}) =>
  startScram({
    password: secret(vector.password),
    user: vector.user,
    nonce: vector.nonce,
    offered: ["SCRAM-SHA-256"],
    ...over,
  });

test("agrees with RFC 7677", async () => {
  const scram = start();
  expect(scram.mechanism).toBe("SCRAM-SHA-256");
  expect(scram.first).toBe(vector.first);
  expect(await scram.answer(vector.serverFirst)).toBe(vector.final);
  expect(() => scram.verify(vector.serverFinal)).not.toThrow();
});

describe("against a server of its own", () => {
  test.each([
    ["plain, no binding known", undefined, offered, "SCRAM-SHA-256", "n,,"],
    ["plain, a binding known that was not offered", binding, ["SCRAM-SHA-256"], "SCRAM-SHA-256", "y,,"],
    ["bound", binding, offered, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"],
  ])("logs in %s", async (_name, known, offers, mechanism, header) => {
    const scram = start({ binding: known, offered: offers });
    expect([scram.mechanism, scram.first.startsWith(header)]).toEqual([mechanism, true]);
    const server = startScramServer({ password: vector.password, binding, first: scram.first });
    const final = await scram.answer(server.first);
    expect(() => scram.verify(server.final(final))).not.toThrow();
  });

  test("S-33 the server's proof is checked", async () => {
    const scram = start();
    const server = startScramServer({ password: vector.password, binding, first: scram.first });
    const final = server.final(await scram.answer(server.first));
    const wrong = `v=${createHash("sha256").update("x").digest("base64")}`;
    for (const say of [wrong, "v=", "v=AAAA", "e=other-error", "", final.replace("v=", "w=")])
      expect(() => scram.verify(say)).toThrow(expect.objectContaining({ code: "upstream_refused" }));
  });

  test("S-33 a bound login fails on another connection", async () => {
    const scram = start({ binding: Buffer.alloc(32, 1), offered });
    const server = startScramServer({ password: vector.password, binding, first: scram.first });
    const final = await scram.answer(server.first);
    expect(() => server.final(final)).toThrow("binding");
  });
});

const salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
test.each([
  ["a nonce that is not ours", `r=xOprNGfwEbeRWgbNEkqOabc,s=${salt},i=4096`],
  ["our nonce alone", `r=${vector.nonce},s=${salt},i=4096`],
  ["too few iterations", `r=${vector.nonce}a,s=${salt},i=1`],
  ["too many iterations", `r=${vector.nonce}a,s=${salt},i=999999999`],
  ["iterations that wrap", `r=${vector.nonce}a,s=${salt},i=4294971392`],
  ["no salt", `r=${vector.nonce}a,s=,i=4096`],
  ["a salt that is not base64", `r=${vector.nonce}a,s=$$$$,i=4096`],
  ["a mandatory extension", `m=ext,r=${vector.nonce}a,s=${salt},i=4096`],
  ["an error", "e=unknown-user"],
  ["nothing", ""],
])("S-33 a server-first with %s is refused", async (_name, text) => {
  expect((await failed(start().answer(text))).code).toBe("upstream_refused");
});

test("refuses a server that offers neither mechanism", () => {
  expect(() => start({ offered: ["SCRAM-SHA-1"] })).toThrow(expect.objectContaining({ code: "upstream_refused" }));
});

test("prepares passwords as RFC 4013 says, and uses those it can't as they are", () => {
  expect(prepare("I\u00adX")).toBe("IX");
  expect(prepare("\u00aa")).toBe("a");
  expect(prepare("\u2168")).toBe("IX");
  expect(prepare("a\u00a0b")).toBe("a b");
  expect(prepare("\u0007é")).toBe("\u0007é");
});

test.each(certificates)("binds to a certificate signed by $signed", ({ pem, hash }) => {
  const certificate = new X509Certificate(pem);
  const expected = hash && createHash(hash).update(certificate.raw).digest("hex");
  expect(endPoint(certificate)?.toString("hex")).toBe(expected);
});
