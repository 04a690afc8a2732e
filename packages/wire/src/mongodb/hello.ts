// What the proxy answers itself: hello in its three spellings, and of those who never log in ping and buildInfo as well. Every
// hello looks like a router's and names nobody: a driver takes an address it is given for better than the one it dialled, which
// leads out of a tunnel. https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring
import { Failure } from "@sallyport/core/failure";
import type { Document } from "bson";
import { answer, errorDocument, errors, type Request, readDocument } from "./message.ts";

/** What a server takes, as far as a client goes by it. */
export interface Limits {
  readonly maxBsonObjectSize: number;
  readonly maxMessageSizeBytes: number;
  readonly maxWriteBatchSize: number;
  readonly logicalSessionTimeoutMinutes: number;
  readonly minWireVersion: number;
  readonly maxWireVersion: number;
}

/** DocumentDB 5.0's, the oldest that logs in by role: until the target has said its own. */
export const usual: Limits = {
  ...{ maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000, maxWriteBatchSize: 100_000 },
  ...{ logicalSessionTimeoutMinutes: 30, minWireVersion: 0, maxWireVersion: 13 },
};

const numberOf = (value: unknown, most: number): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? Math.min(value, most) : undefined;

/** A server's own, where it names them; never more than what passes here. */
export const limitsOf = (hello: Document): Limits => {
  const limits = { ...usual };
  for (const name of Object.keys(usual) as (keyof Limits)[])
    limits[name] =
      numberOf(hello[name], name === "minWireVersion" || name === "maxWireVersion" ? 100 : usual[name]) ?? usual[name];
  return limits;
};

const hellos: ReadonlySet<string> = new Set(["hello", "isMaster", "ismaster"]);
/** Is it one of the spellings of hello? */
export const isHello = (name: string): boolean => hellos.has(name);
/** What a connection may say for as long as it likes without logging in. */
export const isMonitoring = (name: string): boolean =>
  isHello(name) || name === "ping" || name === "buildInfo" || name === "buildinfo";

/** The answer to a hello; what it asks about compression, mechanisms and logging in ahead of time is left unanswered. */
export const helloDocument = (name: string, asked: { readonly helloOk: boolean }, limits: Limits): Document => ({
  ...(name === "hello" ? { isWritablePrimary: true } : { ismaster: true }),
  msg: "isdbgrid",
  ...(asked.helloOk ? { helloOk: true } : {}),
  ...limits,
  localTime: new Date(),
  readOnly: false,
  ok: 1,
});

const version = "5.0.0";
const buildInfo: Document = {
  ...{ version, versionArray: [5, 0, 0, 0], gitVersion: "sallyport", modules: [], bits: 64, debug: false },
  ...{ maxBsonObjectSize: usual.maxBsonObjectSize, ok: 1 },
};

/** The answer to hello, and before the login to ping and buildInfo. @throws Failure when it wants a router's own face */
export const answerMonitor = (request: Request, limits: Limits = usual): Buffer => {
  if (request.name === "ping") return answer(request, { ok: 1 });
  if (!isHello(request.name)) return answer(request, buildInfo);
  const asked = readDocument(request.body);
  if (asked["loadBalanced"] === true)
    return answer(
      request,
      errorDocument(new Failure("unsupported", "loadBalanced=true is not offered here"), { code: errors.invalid }),
    );
  return answer(request, helloDocument(request.name, { helloOk: asked["helloOk"] === true }, limits));
};

/** What a client says of itself in its first hello: told to the server, as far as it is short and plain. */
export const applicationOf = ({ body }: Pick<Request, "body">): string | undefined => {
  const { client } = readDocument(body) as { client?: { application?: { name?: unknown } } };
  const name = client?.application?.name;
  return typeof name === "string" && name.length <= 128 ? name : undefined;
};
