// Starting the discover function and waiting for what it found, within the time that the API itself has.
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { type Output, routes } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";

/** A run of discovery. @throws Failure `timeout` when it takes longer than a request may; `unavailable` */
export type Discovery = (run: { readonly dryRun: boolean }) => Promise<Output<"discover">>;

/** API Gateway gives up after 30 s. */
const patience = 25_000;
const hint = "see the log of the discover function";

/** The function's answer as the API's. */
const readRuns = (payload: Uint8Array | undefined): Output<"discover"> => {
  try {
    return routes.discover.output.parse(JSON.parse(new TextDecoder().decode(payload)));
  } catch (cause) {
    throw new Failure("unavailable", "discovery answered something else than its runs", { hint, cause });
  }
};

const isTimeout = (thrown: unknown): boolean =>
  thrown instanceof Error && ["TimeoutError", "AbortError"].includes(thrown.name);

export const openDiscovery = (name: string): Discovery => {
  // never sent twice: a second run beside the first helps nobody
  const client = new LambdaClient({
    maxAttempts: 1,
    requestHandler: { requestTimeout: patience, throwOnRequestTimeout: true },
  });
  return async ({ dryRun }) => {
    const Payload = new TextEncoder().encode(JSON.stringify({ dryRun }));
    try {
      const answer = await client.send(new InvokeCommand({ FunctionName: name, Payload }));
      if (answer.FunctionError !== undefined) throw new Failure("unavailable", "discovery failed", { hint });
      return readRuns(answer.Payload);
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      if (isTimeout(thrown))
        throw new Failure("timeout", "discovery takes longer than a request may", {
          hint: "it goes on by itself: look again with sally db ls",
          cause: thrown,
        });
      throw new Failure("unavailable", "discovery can't be started", { hint, cause: thrown });
    }
  };
};
