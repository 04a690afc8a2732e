// The inside of one Lambda function: a worker thread that loads the handler and answers invocations, one message each.
// Started by functions.ts with the function's own environment; nothing else is shared with the laptop account.
import { parentPort, workerData } from "node:worker_threads";
import type { Outcome, Task } from "./functions.ts";

type Handler = (event: unknown, context: unknown) => Promise<unknown>;

const { entry, name } = workerData as { entry: string; name: string };
const { handler } = (await import(entry)) as { handler: Handler };

const contextOf = (task: Task, startedAt = performance.now()) => ({
  awsRequestId: task.requestId,
  functionName: name,
  functionVersion: "$LATEST",
  invokedFunctionArn: task.functionArn,
  memoryLimitInMB: "512",
  logGroupName: `/aws/lambda/${name}`,
  logStreamName: "laptop",
  callbackWaitsForEmptyEventLoop: false,
  // the function's own clock may be wrong
  getRemainingTimeInMillis: () => Math.max(0, startedAt + task.timeoutMs - performance.now()),
});

const run = async (task: Task): Promise<Outcome> => {
  try {
    const result = await handler(task.event, contextOf(task));
    return { id: task.id, ok: true, result: JSON.stringify(result ?? null) };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    return { id: task.id, ok: false, name: error.name, message: error.message };
  }
};

parentPort?.on("message", (task: Task) => {
  run(task).then(
    (outcome) => parentPort?.postMessage(outcome),
    () => process.exit(1),
  );
});
parentPort?.postMessage("ready");
