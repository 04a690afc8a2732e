// The server's half of SCRAM-SHA-256, written for the tests alone, from RFC 5802.
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

export const startScramServer = (options: { password: string; binding?: Buffer; first: string }) => {
  const { password, binding, first } = options;
  const header = /^(?:n|y|p=tls-server-end-point),,/.exec(first)?.[0] ?? "";
  const bare = first.slice(header.length);
  const nonce = `${/r=([^,]+)/.exec(bare)?.[1]}server`;
  const salt = Buffer.from("0123456789abcdef");
  const said = `r=${nonce},s=${salt.toString("base64")},i=4096`;
  return {
    first: said,
    /** Server-final. Throws when the client did not prove the password or its binding. */
    final: (text: string): string => {
      const found = /^(c=([^,]*),r=([^,]*)),p=(.*)$/.exec(text);
      const [, without = "", bound = "", both, proof = ""] = found ?? [];
      const expected = header.startsWith("p")
        ? Buffer.concat([Buffer.from(header), binding ?? Buffer.alloc(0)])
        : Buffer.from(header);
      if (bound !== expected.toString("base64") || both !== nonce) throw new Error("wrong binding or nonce");
      const salted = pbkdf2Sync(password, salt, 4096, 32, "sha256");
      const stored = createHash("sha256").update(hmac(salted, "Client Key")).digest();
      const signed = `${bare},${said},${without}`;
      const signature = hmac(stored, signed);
      const key = Buffer.from(Buffer.from(proof, "base64").map((byte, at) => byte ^ (signature[at] ?? 0)));
      if (!createHash("sha256").update(key).digest().equals(stored)) throw new Error("wrong proof");
      return `v=${hmac(hmac(salted, "Server Key"), signed).toString("base64")}`;
    },
  };
};
