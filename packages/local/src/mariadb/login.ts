// The packets of a MySQL login as the front must understand them: strictly, so that the user who is checked is the user who
// is let in. Whatever the server is to see goes to it as it came.
// https://mariadb.com/kb/en/connection/#handshake-response-packet
import { Failure } from "@sallyport/core/failure";
import { capability, errorBody } from "./packet.ts";

export const loginLimit = 64 * 1024;
export const clearPassword = "mysql_clear_password";
/** The server asks for this where only the front can answer. */
export const frontsMethod = "client_ed25519";
const headLength = 32;
const nameLimit = 80;

export interface Login {
  readonly user: string;
  readonly database: string;
  /** The method the client begins with, and what it sends for it. */
  readonly method: string;
  readonly auth: Buffer;
}

const malformed = (why: string): Failure => new Failure("protocol", `malformed handshake: ${why}`);

const reader = (body: Buffer) => {
  let at = headLength;
  const bytes = (length: number): Buffer => {
    if (length > body.length - at) throw malformed("it ends too soon");
    at += length;
    return body.subarray(at - length, at);
  };
  const word = (): string => {
    const end = body.indexOf(0, at);
    if (end < 0) throw malformed("a word without its end");
    const text = bytes(end - at);
    at++;
    if (!Buffer.from(text.toString()).equals(text)) throw malformed("a word that is not UTF-8");
    return text.toString();
  };
  const length = (): number => {
    const [first = 0] = bytes(1);
    if (first < 0xfb) return first;
    if (first === 0xfc) return bytes(2).readUInt16LE();
    throw malformed("a longer answer than a login may have");
  };
  return { bytes, word, length, left: () => body.length - at };
};

/** The capabilities of a packet that may be an SSLRequest: the same head as a login, and nothing behind it. */
export const asksForTls = (body: Buffer): boolean =>
  body.length === headLength && (body.readUInt32LE() & capability.ssl) !== 0;

export const parseLogin = (body: Buffer): Login => {
  if (body.length < headLength + 1) throw malformed("it is too short");
  const bits = body.readUInt32LE();
  const has = (bit: number): boolean => (bits & bit) !== 0;
  for (const bit of [capability.protocol41, capability.secureConnection, capability.pluginAuth])
    if (!has(bit))
      throw new Failure("unsupported", "client does not support authentication protocol requested by server");
  const read = reader(body);
  const user = read.word();
  const auth = read.bytes(has(capability.lenencAuth) ? read.length() : (read.bytes(1)[0] ?? 0));
  const database = has(capability.connectWithDb) ? read.word() : "";
  const method = read.word();
  if (has(capability.connectAttrs) && read.left() === 0) throw malformed("attributes are missing");
  if (Buffer.byteLength(user) > nameLimit) throw malformed("a name of more than 80 bytes");
  return { user, database, method, auth };
};

/** The same login for a socket without TLS. */
export const withoutTls = (body: Buffer): Buffer => {
  const copy = Buffer.from(body);
  copy.writeUInt32LE((copy.readUInt32LE() & ~capability.ssl) >>> 0);
  return copy;
};

/** The method an AuthSwitchRequest asks for, and its challenge; undefined for any other packet. */
export const parseSwitch = (body: Buffer): { readonly method: string; readonly data: Buffer } | undefined => {
  const end = body.indexOf(0, 1);
  if (body[0] !== 0xfe || end < 0) return undefined;
  return { method: body.toString("latin1", 1, end), data: body.subarray(end + 1) };
};

export const switchBody = (method: string, data: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([Buffer.from(`\xfe${method}\0`, "latin1"), data]);

/** The password in what mysql_clear_password sends: a word with its end. */
export const parseClear = (body: Buffer): string => {
  const end = body.indexOf(0);
  if (end !== body.length - 1) throw malformed("a password that is no word");
  return body.toString("utf8", 0, end);
};

const numbers = {
  protocol: [1043, "08S01"],
  unsupported: [1251, "08004"],
  bad_token: [1045, "28000"],
  tls_required: [1045, "28000"],
} as const;

/** A failure as the server would word it; undefined for what ends without a word. */
export const refusalOf = ({ code, message }: Failure): Buffer | undefined => {
  const numbered = code in numbers ? numbers[code as keyof typeof numbers] : undefined;
  return numbered && errorBody(numbered[0], numbered[1], message);
};

export const accessDenied = (user: string, from: string): string =>
  `Access denied for user '${user}'@'${from}' (using password: YES)`;
