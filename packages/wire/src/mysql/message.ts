// MySQL's messages outside the command phase: the greeting, the two halves of a client's answer to it, authentication's small
// packets, OK and ERR, and what our failures are called in MySQL's words.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
import { Failure, type FailureCode } from "@sallyport/core/failure";
import { type Capabilities, capability } from "./capability.ts";
import { compose, reader } from "./packet.ts";

/** What a client may send before its login, in one packet and in all. */
export const loginLimit = 16_384;
export const nonceSize = 20;
export const plugins = {
  clear: "mysql_clear_password",
  native: "mysql_native_password",
  sha2: "caching_sha2_password",
} as const;

/** The first byte of a packet. */
export const heads = { ok: 0x00, more: 0x01, file: 0xfb, eof: 0xfe, error: 0xff } as const;
export const autocommit = 0x2;

export interface Greeting extends Capabilities {
  readonly version: string;
  readonly connection: number;
  readonly nonce: Buffer;
  readonly charset: number;
  readonly status: number;
  readonly plugin: string;
}

export const parseGreeting = (payload: Buffer): Greeting => {
  const fields = reader(payload);
  if (fields.u8() !== 10) throw new Failure("protocol", "a greeting of another protocol version");
  const version = fields.cstring().toString("latin1");
  const connection = fields.u32();
  const first = fields.bytes(8);
  fields.u8();
  const low = fields.u16();
  const charset = fields.u8();
  const status = fields.u16();
  const flags = (low | (fields.u16() << 16)) >>> 0;
  const authLength = fields.u8();
  fields.bytes(6);
  const extended = fields.u32();
  const second = fields.bytes(Math.max(12, authLength - 9));
  // behind a zero byte, which some servers leave out
  if (fields.left() > 0) fields.u8();
  const plugin = flags & capability.pluginAuth ? fields.lastString().toString("latin1") : "";
  const nonce = Buffer.concat([first, second.subarray(0, nonceSize - 8)]);
  return {
    version,
    connection,
    nonce,
    charset,
    status,
    flags,
    plugin,
    extended: flags & capability.longPassword ? 0 : extended,
  };
};

export const greeting = (of: Greeting): Buffer =>
  compose()
    .u8(10)
    .cstring(of.version)
    .u32(of.connection)
    .bytes(of.nonce.subarray(0, 8))
    .u8(0)
    .u16(of.flags & 0xffff)
    .u8(of.charset)
    .u16(of.status)
    .u16(of.flags >>> 16)
    .u8(nonceSize + 1)
    .zeros(6)
    .u32(of.extended)
    .bytes(of.nonce.subarray(8))
    .u8(0)
    .cstring(of.plugin)
    .payload();

/** The first 32 bytes of a client's answer; alone they ask for TLS. */
export interface Opening extends Capabilities {
  readonly maxPacket: number;
  readonly charset: number;
}
export interface Response extends Opening {
  readonly user: string;
  readonly auth: Buffer;
  /** Undefined when the client named none. */
  readonly schema: string | undefined;
  /** Undefined where the client knows of no plugins. */
  readonly plugin: string | undefined;
  readonly attributes: readonly (readonly [name: Buffer, value: Buffer])[];
}

export const openingSize = 32;
export const isTlsRequest = (payload: Buffer): boolean =>
  payload.length === openingSize && (payload.readUInt32LE() & capability.ssl) !== 0;

const malformed = (why: string): Failure => new Failure("protocol", `bad handshake: ${why}`);

/** A name as text; the server would read other bytes as another name than the one that is checked. */
const nameOf = (bytes: Buffer): string => {
  const text = bytes.toString();
  if (!Buffer.from(text).equals(bytes)) throw malformed("a name is not UTF-8");
  return text;
};

const attributesOf = (block: Buffer): Response["attributes"] => {
  const fields = reader(block);
  const found: (readonly [Buffer, Buffer])[] = [];
  while (fields.left() > 0) found.push([fields.counted(), fields.counted()]);
  return found;
};

/** Reads it as a server does that showed `show`. @throws Failure `protocol` */
export const parseResponse = (payload: Buffer, show: Capabilities): Response => {
  const fields = reader(payload);
  const flags = fields.u32();
  if (!(flags & capability.protocol41))
    throw new Failure("unsupported", "the client speaks a protocol of before MySQL 4.1");
  const maxPacket = fields.u32();
  const charset = fields.u8();
  fields.bytes(19);
  // MariaDB's bits lie where MySQL has zeros
  const reserved = fields.u32();
  const extended = (flags | show.flags) & capability.longPassword ? 0 : reserved;
  const user = nameOf(fields.cstring());
  const has = (bit: number): boolean => (flags & show.flags & bit) !== 0;
  const auth = has(capability.lenencAuth) ? fields.counted() : fields.bytes(fields.u8());
  const schema = has(capability.connectWithDb) && fields.left() > 0 ? nameOf(fields.cstring()) : "";
  const plugin = has(capability.pluginAuth) && fields.left() > 0 ? nameOf(fields.lastString()) : undefined;
  const attributes = has(capability.connectAttrs) && fields.left() > 0 ? attributesOf(fields.counted()) : [];
  // a compression level may stand here, and nothing else
  if (fields.left() > 1) throw malformed("bytes behind its last field");
  return {
    ...{ flags, extended, maxPacket, charset, user, auth, plugin, attributes },
    schema: schema === "" ? undefined : schema,
  };
};

const openingOf = (of: Opening): ReturnType<typeof compose> =>
  compose().u32(of.flags).u32(of.maxPacket).u8(of.charset).zeros(19).u32(of.extended);

export const tlsRequest = (of: Opening): Buffer => openingOf(of).payload();

export const response = (of: Response): Buffer => {
  const packet = openingOf(of).cstring(of.user);
  if (of.flags & capability.lenencAuth) packet.counted(of.auth);
  else packet.u8(of.auth.length).bytes(of.auth);
  if (of.flags & capability.connectWithDb) packet.cstring(of.schema ?? "");
  if (of.flags & capability.pluginAuth) packet.cstring(of.plugin ?? "");
  if (of.flags & capability.connectAttrs) {
    const block = compose();
    for (const [name, value] of of.attributes) block.counted(name).counted(value);
    packet.counted(block.payload());
  }
  return packet.payload();
};

export const switchTo = (plugin: string, nonce: Buffer): Buffer =>
  compose().u8(heads.eof).cstring(plugin).bytes(nonce).u8(0).payload();
export const more = (...bytes: readonly number[]): Buffer => Buffer.of(heads.more, ...bytes);
/** caching_sha2_password's: the cache had it; or send the password itself. */
export const sha2 = { known: 3, full: 4 } as const;

/** An OK without rows: its status, no warnings. */
export const ok = (status = autocommit): Buffer =>
  compose().u8(heads.ok).lenenc(0).lenenc(0).u16(status).u16(0).payload();

type Code = readonly [errno: number, sqlState: string];
/** What a failure is called on this wire. */
export const errors = {
  invalid: [1210, "HY000"],
  too_large: [1153, "08S01"],
  not_logged_in: [1045, "28000"],
  bad_token: [1045, "28000"],
  denied: [1045, "28000"],
  not_found: [1049, "42000"],
  conflict: [1213, "40001"],
  too_many: [1040, "08004"],
  tls_required: [3159, "HY000"],
  protocol: [1043, "08S01"],
  unsupported: [1235, "42000"],
  timeout: [1159, "08S01"],
  starting: [1053, "08S01"],
  draining: [1053, "08S01"],
  ended: [1927, "70100"],
  audit_full: [1041, "HY000"],
  unavailable: [1053, "08S01"],
  upstream_unreachable: [2013, "HY000"],
  upstream_untrusted: [2026, "HY000"],
  upstream_refused: [1045, "28000"],
  internal: [1105, "HY000"],
} as const satisfies Record<FailureCode, Code>;

/** The server's own number and SQLSTATE where it refused us. */
const codeOf = ({ code, details }: Failure): Code => {
  const [errno, sqlState] = [details?.["errno"], details?.["sqlstate"]];
  const said = code === "upstream_refused" && typeof errno === "number" && typeof sqlState === "string";
  return said && /^[0-9A-Z]{5}$/.test(sqlState) ? [errno, sqlState] : errors[code];
};

/** As an ERR packet, with the hint behind the message. `early`: before the greeting there is no SQLSTATE yet. The cause stays with us. */
export const errorPayload = (
  failure: Failure,
  options: { readonly code?: Code; readonly early?: boolean } = {},
): Buffer => {
  const [errno, sqlState] = options.code ?? codeOf(failure);
  const { message, hint } = failure;
  const words = `${message.slice(0, 400)}${hint === undefined ? "" : `; hint: ${hint}`}`.slice(0, 500);
  const state = options.early ? "" : `#${sqlState}`;
  return compose()
    .u8(heads.error)
    .u16(errno)
    .bytes(Buffer.from(`${state}${words}`))
    .payload();
};

/** What an ERR packet says. Total: a server may leave out or cut off what it likes. */
export const errorFields = (
  payload: Buffer,
): { readonly errno: number; readonly sqlState: string; readonly message: string } => {
  const errno = payload.length < 3 ? 0 : payload.readUInt16LE(1);
  const marked = payload[3] === 0x23 && payload.length >= 9;
  return {
    errno,
    sqlState: marked ? payload.toString("latin1", 4, 9) : "",
    message: payload.toString("utf8", marked ? 9 : 3),
  };
};
