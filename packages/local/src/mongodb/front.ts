// What stands before a MongoDB server in place of DocumentDB: TLS from the first byte, MONGODB-AWS for everybody, nothing but hello
// and its like before that, and a member of a cluster that may be made the writer or a reader at any time.
import type { TLSSocket } from "node:tls";
import { Failure, toFailure } from "@sallyport/core/failure";
import { type Document, serialize } from "bson";
import { type FrontOptions, type Front as FrontWith, openFront, secureFront, stall } from "../front.ts";
import { take } from "../stream.ts";
import { headerSize, lengthOf, parseRequest, type Request, replyTo } from "./packet.ts";
import { openConversation, type Verifier } from "./sasl.ts";
import type { Member, MongoServer } from "./server.ts";

export type Fault =
  | { readonly is: "refusing" }
  | { readonly is: "hanging"; readonly at: "connection" | "login" }
  /** Shows another certificate. */
  | { readonly is: "impostor"; readonly identity: FrontOptions["identity"] }
  /** Asks for a signature that is for somebody else. */
  | { readonly is: "luring"; readonly host: string }
  /** Drops a session after so many bytes of what the server says in it. */
  | { readonly is: "cutting"; readonly afterBytes: number };
export type Front = FrontWith<Fault>;

export interface MongoFrontOptions extends Omit<FrontOptions, "upstream" | "check"> {
  readonly server: Pick<MongoServer, "open" | "hasUser">;
  readonly member: () => Member;
  readonly verifier: Omit<Verifier, "isUser">;
}

/** What may be asked by somebody who has not logged in; sasl beside it. */
const open = new Set([
  "hello",
  "isMaster",
  "ismaster",
  "ping",
  "buildInfo",
  "buildinfo",
  "whatsmyuri",
  "getLog",
  "endSessions",
]);
const loginLimit = 64 * 1024;

const wordsOf = ({ message, details }: Failure): Document => ({
  ok: 0,
  errmsg: message,
  code: details?.["code"] ?? 8,
  codeName: details?.["codeName"] ?? "UnknownError",
});
const unauthorized = (name: string): Document => ({
  ok: 0,
  errmsg: `command ${name} requires authentication`,
  code: 13,
  codeName: "Unauthorized",
});

const receive = async (
  client: TLSSocket,
  fault: Fault | undefined,
  options: MongoFrontOptions,
  tally: { admitted: number; refused: number },
  settled: () => void,
) => {
  let user: string | undefined;
  const server = options.server.open(options.member, () => user);
  server.on("error", () => server.destroy());
  client.on("close", () => server.destroy());
  server.once("close", () => client.destroySoon());
  let left = fault?.is === "cutting" ? fault.afterBytes : Number.POSITIVE_INFINITY;
  server.on("data", (bytes: Buffer) => {
    const some = bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= some.length;
    const last = left <= 0;
    // TLS goes before what is beneath it
    if (!client.write(some, () => last && client.destroy()) && !last) {
      server.pause();
      client.once("drain", () => server.resume());
    }
  });
  const { verifier } = options;
  const host = fault?.is === "luring" ? fault.host : verifier.host;
  const conversation = openConversation({ ...verifier, host, isUser: (arn) => options.server.hasUser(arn) });
  const say = (request: Request, document: Document): void => {
    client.write(replyTo(request, Buffer.from(serialize(document))).bytes);
  };
  while (user === undefined) {
    const head = await take(client, headerSize);
    const length = lengthOf(head);
    if (length > loginLimit) throw new Failure("protocol", "a message too long for a login");
    const whole = Buffer.concat([head, await take(client, length - headerSize)]);
    const request = parseRequest(whole);
    if (open.has(request.name)) {
      server.write(whole);
      continue;
    }
    try {
      if (request.name === "saslStart") say(request, conversation.start(request.command));
      else if (request.name === "saslContinue") {
        const { user: who, answer } = await conversation.finish(request.command);
        say(request, answer);
        tally.admitted++;
        user = who;
      } else say(request, unauthorized(request.name));
    } catch (thrown) {
      tally.refused++;
      say(request, wordsOf(toFailure(thrown)));
    }
  }
  settled();
  client.pipe(server);
};

export const startMongoFront = (options: MongoFrontOptions): Promise<Front> =>
  openFront<Fault>(
    // monitors stay without logging in for as long as they like
    { loginWithinMs: 3_600_000, ...options, upstream: "", check: () => false },
    async (raw, context, settled) => {
      const fault = context.fault();
      const client = await secureFront(raw, fault?.is === "impostor" ? fault.identity : context.identity);
      if (fault?.is === "hanging") return stall(client, Buffer.alloc(0));
      try {
        await receive(client, fault, options, context.tally, settled);
      } catch {
        client.destroy();
      }
    },
  );
