// From the greeting to a session: the server's own greeting goes to the client and the client's login to the server, so that
// nonce, capabilities and connection id are theirs. Where the server asks for what only the front can answer (an IAM
// user), the client is asked for its token in clear, as AWSAuthenticationPlugin does; a good one is answered for. All
// others are left to the server's own password check. COM_CHANGE_USER to an IAM user fails: nobody answers for it then.
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { type FrontContext, relay, secureFront, stall, whereOf } from "../front.ts";
import type { Fault } from "./fault.ts";
import * as packets from "./login.ts";
import { capability, framed, parseGreeting, takePacket } from "./packet.ts";
import type { Signer } from "./signer.ts";

export type Context = FrontContext<Fault> & { readonly signer: Signer };

// What the server may take these for depends on the client's character set, so that no other names can be checked.
const checkable = /^[\w$.-]+$/;
// nobody gets in by the front as the superuser, whatever the token
const forbidden = "rdsadmin";

/** Packets one after the other, each with the number that is due; a number out of turn is refused. */
const conversation = (stream: Socket, first = 0) => {
  let due = first;
  const next = (): number => due++ & 0xff;
  return {
    due: () => due,
    hear: async (): Promise<Buffer> => {
      const { sequence, body } = await takePacket(stream, packets.loginLimit);
      if (sequence !== next()) throw new Failure("protocol", "got packets out of order");
      return body;
    },
    say: (body: Buffer): void => void stream.write(framed({ sequence: next(), body })),
  };
};
type Conversation = ReturnType<typeof conversation>;

const reach = (path: string): Socket => {
  const server = connect({ path, allowHalfOpen: true });
  server.on("error", () => server.destroy());
  return server;
};

/** The server's greeting, with TLS on offer whether the server has it on its socket or not. */
const greetingFor = (body: Buffer, tls: boolean): Buffer => {
  const copy = Buffer.from(body);
  const { lowAt } = parseGreeting(body);
  const bits = copy.readUInt16LE(lowAt);
  copy.writeUInt16LE(tls ? bits | capability.ssl : bits & ~capability.ssl, lowAt);
  return copy;
};

/** Resolves when the token is good. */
const admit = async (raw: Socket, client: TLSSocket, talk: Conversation, login: packets.Login, context: Context) => {
  const { user, database } = login;
  // a client that began with the right method has sent its token already
  const early = login.method === packets.clearPassword && login.auth.length > 0;
  if (!early) talk.say(packets.switchBody(packets.clearPassword));
  const password = secret(packets.parseClear(early ? login.auth : await talk.hear()));
  context.tally.earlyBytes += client.readableLength;
  const good = checkable.test(user) && user !== forbidden;
  if (good && (await context.check({ user, database, password, ...whereOf(raw, client) }))) {
    context.tally.admitted++;
    return;
  }
  context.tally.refused++;
  throw new Failure("bad_token", packets.accessDenied(user, raw.remoteAddress ?? ""));
};

/** Carries the login to its end: the server's OK or ERR, which the client has then been told. */
const carry = async (
  raw: Socket,
  client: TLSSocket,
  talk: Conversation,
  server: Socket,
  first: Buffer,
  context: Context,
) => {
  const login = packets.parseLogin(first);
  const upstream = conversation(server, 1);
  upstream.say(packets.withoutTls(first));
  for (;;) {
    const reply = await upstream.hear();
    const asked = packets.parseSwitch(reply);
    if (asked?.method === packets.frontsMethod) {
      await admit(raw, client, talk, login, context);
      upstream.say(context.signer.sign(asked.data.subarray(0, 32)));
      continue;
    }
    talk.say(reply);
    if (reply[0] === 0 || reply[0] === 0xff) return;
    upstream.say(await talk.hear());
  }
};

/** The client inside TLS, and its place in the conversation; undefined when there is nothing more to hear from it. */
const arrive = async (raw: Socket, talk: Conversation, greeting: Buffer, context: Context) => {
  const fault = context.fault();
  if (fault?.is === "garbage" && fault.at === "greeting") return stall(raw, fault.bytes);
  talk.say(greetingFor(greeting, fault?.is !== "plaintext"));
  const first = await talk.hear();
  if (!packets.asksForTls(first))
    throw new Failure("tls_required", packets.accessDenied(packets.parseLogin(first).user, raw.remoteAddress ?? ""));
  return secureFront(raw, fault?.is === "impostor" ? fault.identity : context.identity);
};

/** The session after its login, and what a fault makes of it. */
const serve = (raw: Socket, client: TLSSocket, server: Socket, fault: Fault | undefined): void => {
  if (fault?.is !== "answering") {
    relay(raw, client, server, fault?.is === "cutting" ? fault.afterBytes : undefined);
    return;
  }
  client.once("data", () => {
    for (const [at, body] of fault.bodies.entries()) client.write(framed({ sequence: at + 1, body }));
  });
};

/** Does what the fault says in place of an answer to the login; answers whether there is nothing more to do. */
const misbehave = async (client: TLSSocket, talk: Conversation, fault: Fault | undefined): Promise<boolean> => {
  if (fault?.is === "hanging") stall(client, Buffer.alloc(0));
  else if (fault?.is === "garbage") stall(client, fault.bytes);
  else if (fault?.is === "asking") {
    talk.say(packets.switchBody(fault.method, fault.data));
    stall(client, Buffer.alloc(0));
  } else {
    if (fault?.is === "delaying") await new Promise((resolve) => setTimeout(resolve, fault.forMs));
    return false;
  }
  return true;
};

/** Lets a client in or words its refusal; `settled` is called when its login has been answered. */
export const receive = async (raw: Socket, context: Context, settled: () => void): Promise<void> => {
  const server = reach(context.upstream);
  raw.on("close", () => server.destroy());
  const plain = conversation(raw);
  let [stream, talk] = [raw, plain];
  try {
    const greeting = await takePacket(server, packets.loginLimit);
    const client = await arrive(raw, plain, greeting.body, context);
    if (!client) return;
    client.on("close", () => server.destroy());
    [stream, talk] = [client, conversation(client, plain.due())];
    const first = await talk.hear();
    const fault = context.fault();
    if (await misbehave(client, talk, fault)) return;
    context.tally.earlyBytes += client.readableLength;
    await carry(raw, client, talk, server, first, context);
    settled();
    serve(raw, client, server, fault);
  } catch (thrown) {
    server.destroy();
    const words = packets.refusalOf(toFailure(thrown));
    if (!words) return void raw.destroy();
    talk.say(words);
    stream.destroySoon();
  }
};
