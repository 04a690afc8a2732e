// PostgreSQL's messages: which are allowed from whom and how long they may be, the startup packet, and the words of an error.
// The startup parser is stricter than the server's, so that the user who is checked is the user who is let in.
// https://www.postgresql.org/docs/18/protocol-message-formats.html
import { Failure, type FailureCode } from "@sallyport/core/failure";
import { compose, type Reader, reader } from "../bytes.ts";

export const codes = { cancel: 80_877_102, ssl: 80_877_103, gss: 80_877_104 } as const;
export const startupLimit = 10_000;
/** What a client may send before its login, in one message and in all. */
export const loginLimit = 16_384;
/** The newest protocol minor that we speak; 3.2 differs from 3.0 by its longer cancel keys. */
export const newestMinor = 2;

export const SSLRequest = compose().i32(codes.ssl).end();
export const AuthenticationOk = compose("R").i32(0).end();
export const AuthenticationCleartextPassword = compose("R").i32(3).end();
export const Sync = compose("S").end();
export const Terminate = compose("X").end();

/** What a relay does with a message, by its type byte. 0: not allowed there. */
export const seen = { pass: 1, small: 2, empty: 3, state: 4, whole: 5, brief: 6, first: 7 } as const;
/** Kinds from here on are read for the audit: whole, in one small piece, or only their first piece. */
export const audited = seen.whole;
const largest = 0x3fff_ffff; //  the server's own bound: a byte less than 1 GiB
const bounds: Readonly<Record<number, readonly [least: number, most: number]>> = {
  [seen.pass]: [4, largest],
  [seen.small]: [4, 10_000],
  [seen.empty]: [4, 4],
  [seen.state]: [5, 5],
  [seen.whole]: [5, largest],
  [seen.brief]: [9, 10_000],
  [seen.first]: [5, largest],
};

const table = (types: Readonly<Record<string, number>>): Uint8Array => {
  const bytes = new Uint8Array(256);
  for (const [type, what] of Object.entries(types)) bytes[type.charCodeAt(0)] = what;
  return bytes;
};
const { pass, small, empty, state, whole, brief, first } = seen;
/** Query, Parse, Bind, Execute, FunctionCall; Describe, Close, Sync, Flush; CopyData, CopyDone, CopyFail; Terminate. No `p`: there is no login to answer. */
export const fromClient = table({
  ...{ Q: whole, P: whole, B: whole, E: brief, F: first },
  ...{ D: small, C: small, S: empty, H: empty, d: pass, c: empty, f: small, X: empty },
});
/** No `R`, `K`, `v`: a server that asks for a password or hands out keys after the login is not what it seems. */
export const fromServer = table({
  ...{ "1": empty, "2": empty, "3": empty, n: empty, s: empty, I: empty, Z: state, t: pass, T: pass },
  ...{ D: pass, V: pass, d: pass, c: empty, G: pass, H: pass, W: pass },
  ...{ A: pass, N: pass, S: pass, C: first, E: first },
});

/** May a message of this kind have this length? @throws Failure `protocol` */
export const checkLength = (what: number, type: number, length: number): void => {
  const bound = bounds[what];
  const name = type > 32 && type < 127 ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16)}`;
  if (!bound) throw new Failure("protocol", `message type ${name} is not allowed here`);
  if (length < bound[0] || length > bound[1])
    throw new Failure("protocol", `invalid length ${length} of message type ${name}`);
};

/** What a client asks for in its startup packet. */
export interface Startup {
  readonly minor: number;
  readonly user: string;
  /** Undefined when the client named none. */
  readonly database: string | undefined;
  /** The value of `replication`, when it asks for that. */
  readonly replication: string | undefined;
  /** What else goes upstream, in its order. */
  readonly parameters: readonly (readonly [name: string, value: string])[];
  /** `_pq_.` options that we don't know. */
  readonly unknown: readonly string[];
}

const malformed = (why: string): Failure => new Failure("protocol", `invalid startup packet: ${why}`);
const nameLimit = 63;
const keptForUs = new Set(["role", "session_authorization"]);

const refuseSetting = (name: string): void => {
  // the server takes `-` for `_` and does not mind case
  if (keptForUs.has(name.toLowerCase().replaceAll("-", "_")))
    throw new Failure("denied", `the startup parameter ${name.toLowerCase()} is not allowed`, {
      hint: "connect as the database user you need, or SET ROLE once you are connected",
    });
};

/** `options`: settings only, as `-c name=value` or `--name=value`; a backslash keeps the next character as it is. */
const checkOptions = (options: string): void => {
  const words = options.match(/(?:\\[\s\S]|[^\\ \t\n\v\f\r])+/g) ?? [];
  for (let at = 0; at < words.length; at++) {
    const word = (words[at] ?? "").replace(/\\([\s\S])/g, "$1");
    const next = word === "-c" ? (words[++at] ?? "").replace(/\\([\s\S])/g, "$1") : undefined;
    const setting = next ?? /^(?:-c|--)([\s\S]+)$/.exec(word)?.[1];
    const name = /^([A-Za-z_][\w.$-]*)=/.exec(setting ?? "")?.[1];
    if (name === undefined)
      throw new Failure("unsupported", "the startup parameter options may only hold -c name=value and --name=value");
    refuseSetting(name);
  }
};

const isOff = (value: string): boolean => /^(f|fa|fal|fals|false|n|no|of|off|0)$/i.test(value);

const parameters = (fields: Reader): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  for (;;) {
    if (fields.left() === 0) throw malformed("no terminator");
    const name = fields.cstring();
    if (name === "") break;
    // a lone name has the terminator for its value, and then nothing is left to end the packet
    if (fields.left() === 0) throw malformed("a name without a value");
    const value = fields.cstring();
    if (found.has(name)) throw malformed(`${name} is given twice`);
    found.set(name, value);
  }
  if (fields.left() > 0) throw malformed("bytes behind its terminator");
  return found;
};

/** @throws Failure `protocol`, `unsupported`, `denied` or `not_logged_in` */
export const parseStartup = (packet: Buffer): Startup => {
  const fields = reader(packet);
  fields.i32();
  // unsigned on this wire
  const [major, minor] = [fields.i16() & 0xffff, fields.i16() & 0xffff];
  if (major !== 3)
    throw new Failure("unsupported", `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`);
  const { user = "", database = "", replication = "", ...rest } = Object.fromEntries(parameters(fields));
  if (user === "") throw new Failure("not_logged_in", "no PostgreSQL user name specified in startup packet");
  // the server cuts a longer name off and lets in somebody else than was checked
  for (const name of [user, database])
    if (Buffer.byteLength(name) > nameLimit) throw new Failure("protocol", `a name of more than ${nameLimit} bytes`);
  const others = Object.entries(rest);
  for (const [name, value] of others) {
    if (name === "options") checkOptions(value);
    else refuseSetting(name);
  }
  return {
    minor,
    user,
    database: database === "" ? undefined : database,
    replication: replication === "" || isOff(replication) ? undefined : replication,
    parameters: others.filter(([name]) => !name.startsWith("_pq_.")),
    unknown: others.flatMap(([name]) => (name.startsWith("_pq_.") ? [name] : [])),
  };
};

/** The startup packet for upstream: always 3.0, which every server since 7.4 and every imitation of one understands. */
export const startup = (settings: readonly (readonly [name: string, value: string])[]): Buffer => {
  const packet = compose().i32(0x30000);
  for (const [name, value] of settings) packet.cstring(name).cstring(value);
  return packet.u8(0).end();
};

/** Undefined when the startup asked for nothing that we don't have. */
export const negotiate = ({ minor, unknown }: Startup): Buffer | undefined => {
  if (minor <= newestMinor && unknown.length === 0) return undefined;
  const message = compose("v")
    .i32(0x30000 + Math.min(minor, newestMinor))
    .i32(unknown.length);
  for (const name of unknown) message.cstring(name);
  return message.end();
};

/** What a failure is called on this wire. */
export const sqlStates = {
  invalid: "22023",
  too_large: "54000",
  not_logged_in: "28000",
  bad_token: "28P01",
  denied: "28000",
  not_found: "3D000",
  conflict: "40001",
  too_many: "53300",
  tls_required: "28000",
  protocol: "08P01",
  unsupported: "0A000",
  timeout: "57014",
  starting: "57P03",
  draining: "57P03",
  ended: "57P01",
  audit_full: "53000",
  unavailable: "57P03",
  upstream_unreachable: "08006",
  upstream_untrusted: "08006",
  upstream_refused: "28000",
  internal: "XX000",
} as const satisfies Record<FailureCode, string>;

/** The server's own SQLSTATE where it refused us, unless that would make a client ask its user for another password. */
const stateOf = ({ code, details }: Failure): string => {
  const said = details?.["sqlstate"];
  const passes = code === "upstream_refused" && typeof said === "string" && /^[0-9A-Z]{5}$/.test(said);
  return passes && said !== sqlStates.bad_token ? said : sqlStates[code];
};

/** An ErrorResponse that ends the connection. The cause stays with us. */
export const fatal = (failure: Failure, sqlState: string = stateOf(failure)): Buffer => {
  const message = compose("E").cstring("SFATAL").cstring("VFATAL").cstring(`C${sqlState}`);
  message.cstring(`M${failure.message.slice(0, 4_000)}`);
  if (failure.hint) message.cstring(`H${failure.hint.slice(0, 4_000)}`);
  return message.u8(0).end();
};

/** What an ErrorResponse or NoticeResponse says. Total: a server may leave out or cut off what it likes. */
export const errorFields = (body: Buffer): { readonly sqlState: string; readonly message: string } => {
  const found = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const end = body.indexOf(0, at + 1);
    const to = end < 0 ? body.length : end;
    const type = String.fromCharCode(body[at] ?? 0);
    if (!found.has(type)) found.set(type, body.toString("utf8", at + 1, to));
    at = to + 1;
  }
  return { sqlState: found.get("C") ?? "", message: found.get("M") ?? "" };
};
