// Passwords as argon2id (RFC 9106) with OWASP's smallest memory setting, kept as PHC strings. Checking takes the same time
// whether there is such a user or not.
import { argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** Memory in KiB. */
const cost = { memory: 19_456, passes: 2, parallelism: 1 } as const;
const tagLength = 32;
const phc = /^\$argon2id\$v=19\$m=(\d{1,6}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})$/;

const derive = promisify(argon2);
// the same characters typed on another keyboard may be other code points
const bytesOf = (password: string): Buffer => Buffer.from(password.normalize("NFC"), "utf8");
const unpadded = (bytes: Buffer): string => bytes.toString("base64").replaceAll("=", "");

/** A PHC string for a new password, with a salt of its own. */
export const hashPassword = async (password: string): Promise<string> => {
  const nonce = randomBytes(16);
  const tag = await derive("argon2id", { message: bytesOf(password), nonce, tagLength, ...cost });
  const { memory, passes, parallelism } = cost;
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${unpadded(nonce)}$${unpadded(tag)}`;
};

/** What the password of a user who has none is compared with: the hash of nothing anybody knows. */
const nobody = `$argon2id$v=19$m=${cost.memory},t=${cost.passes},p=${cost.parallelism}$${"A".repeat(22)}$${"A".repeat(43)}`;

/** Is it this password? False for a hash that can't be read, and, at the same price, for none. */
export const checkPassword = async (hash: string | undefined, password: string): Promise<boolean> => {
  const [, memory, passes, parallelism, salt = "", expected = ""] = phc.exec(hash ?? nobody) ?? phc.exec(nobody) ?? [];
  const wanted = Buffer.from(expected, "base64");
  const tag = await derive("argon2id", {
    message: bytesOf(password),
    nonce: Buffer.from(salt, "base64"),
    parallelism: Number(parallelism),
    tagLength: wanted.length,
    memory: Number(memory),
    passes: Number(passes),
  });
  return timingSafeEqual(tag, wanted) && hash !== undefined;
};
