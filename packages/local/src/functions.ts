// The Lambda functions of the laptop account: each in a worker thread with its own environment and its own role's temporary
// keys, loaded by path. Unlike Lambda, one instance serves several invocations at once and is never frozen.
import { randomUUID } from "node:crypto";
import { Worker } from "node:worker_threads";

export interface FunctionDefinition {
  /** URL of the module that exports `handler`. */
  readonly entry: string;
  readonly arn: string;
  /** The whole environment, as Lambda would set it. */
  readonly env: Readonly<Record<string, string>>;
  /** What Node is to be started with, as a layer would. */
  readonly flags?: readonly string[];
  readonly timeoutMs: number;
}

/** An invocation on its way in. */
export interface Task {
  readonly id: string;
  readonly event: unknown;
  readonly requestId: string;
  readonly functionArn: string;
  readonly timeoutMs: number;
}
/** What came of it; results cross as JSON, as they do on AWS. */
export type Outcome =
  | { readonly id: string; readonly ok: true; readonly result: string }
  | { readonly id: string; readonly ok: false; readonly name: string; readonly message: string };

export interface FunctionRuntime {
  has(name: string): boolean;
  /** @throws Error as the handler threw it, or when it ran out of time */
  invoke(name: string, event: unknown, requestId?: string): Promise<unknown>;
  /** Everything the functions wrote, newest last. */
  log(): string;
  close(): Promise<void>;
}

const logLimit = 4 * 1024 * 1024;

interface Instance {
  readonly worker: Worker;
  readonly ready: Promise<void>;
  readonly waiting: Map<string, (outcome: Outcome) => void>;
}

const startInstance = (name: string, of: FunctionDefinition, write: (text: string) => void): Instance => {
  const worker = new Worker(new URL("./runtime.ts", import.meta.url), {
    name,
    env: of.env,
    workerData: { entry: of.entry, name },
    stdout: true,
    stderr: true,
    execArgv: [...(of.flags ?? [])],
  });
  const waiting = new Map<string, (outcome: Outcome) => void>();
  for (const stream of [worker.stdout, worker.stderr]) stream.setEncoding("utf8").on("data", write);
  const ready = new Promise<void>((resolve, reject) => {
    const gone = (why: string) => {
      reject(new Error(`function ${name} ${why}`));
      for (const [id, settle] of waiting) settle({ id, ok: false, name: "Runtime.ExitError", message: why });
      waiting.clear();
    };
    worker.on("error", (error: Error) => gone(`failed: ${error.message}`));
    worker.on("exit", (code) => gone(`exited with ${code}`));
    worker.on("message", (message: "ready" | Outcome) => {
      if (message === "ready") return resolve();
      waiting.get(message.id)?.(message);
      waiting.delete(message.id);
    });
  });
  ready.catch(() => {});
  return { worker, ready, waiting };
};

const send = (instance: Instance, of: FunctionDefinition, event: unknown, requestId: string): Promise<Outcome> =>
  new Promise((resolve) => {
    const id = randomUUID();
    const timer = setTimeout(() => {
      instance.waiting.delete(id);
      resolve({
        id,
        ok: false,
        name: "Sandbox.Timedout",
        message: `Task timed out after ${of.timeoutMs / 1000} seconds`,
      });
    }, of.timeoutMs);
    instance.waiting.set(id, (outcome) => {
      clearTimeout(timer);
      resolve(outcome);
    });
    // an event crosses as JSON too: what does not survive that would not survive AWS
    const task: Task = {
      id,
      event: JSON.parse(JSON.stringify(event ?? {})),
      requestId,
      functionArn: of.arn,
      timeoutMs: of.timeoutMs,
    };
    instance.worker.postMessage(task);
  });

/** Starts each function when it is first invoked, as Lambda does. */
export const openFunctions = (definitions: Readonly<Record<string, FunctionDefinition>>): FunctionRuntime => {
  const instances = new Map<string, Instance>();
  let log = "";
  const write = (text: string): void => {
    log = (log + text).slice(-logLimit);
  };
  const instanceOf = (name: string, of: FunctionDefinition): Instance => {
    const known = instances.get(name);
    if (known) return known;
    const fresh = startInstance(name, of, write);
    fresh.worker.once("exit", () => instances.delete(name));
    instances.set(name, fresh);
    return fresh;
  };
  return {
    has: (name) => Object.hasOwn(definitions, name),
    async invoke(name, event, requestId = randomUUID()) {
      const of = definitions[name];
      if (!of) throw new Error(`no function ${name}`);
      const instance = instanceOf(name, of);
      await instance.ready;
      const outcome = await send(instance, of, event, requestId);
      if (outcome.ok) return JSON.parse(outcome.result);
      throw Object.assign(new Error(outcome.message), { name: outcome.name });
    },
    log: () => log,
    async close() {
      await Promise.all([...instances.values()].map(({ worker }) => worker.terminate()));
    },
  };
};
