// Starting another function of ours and waiting for its answer, within the time that the one who asks has.
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { type Output, routes } from "@sallyport/core/api";
import { Enabled } from "@sallyport/core/enable";
import { Failure } from "@sallyport/core/failure";
import { type RotateAsked, Rotated } from "@sallyport/core/managed";
import { Probed, type Probing } from "@sallyport/core/probe";
import * as z from "zod";

/** A run of discovery. @throws Failure `timeout` when it takes longer than a request may; `unavailable` */
export type Discovery = (run: { readonly dryRun: boolean }) => Promise<Output<"discover">>;

interface Started<T> {
  readonly name: string;
  /** What it is called in messages. */
  readonly title: string;
  readonly answer: z.ZodType<T>;
  readonly patience: number;
  /** What to do when it takes longer. */
  readonly late: string;
}

const isTimeout = (thrown: unknown): boolean =>
  thrown instanceof Error && ["TimeoutError", "AbortError"].includes(thrown.name);

/** Refused before it ran, for the time it was signed at; from the answer the client has learned theirs. */
const isSkew = (thrown: unknown): boolean =>
  (thrown as { $metadata?: { clockSkewCorrected?: boolean } })?.$metadata?.clockSkewCorrected === true;

const openInvoke = <T>({ name, title, answer, patience, late }: Started<T>): ((event: object) => Promise<T>) => {
  // never run twice: a second run beside the first helps nobody
  const client = new LambdaClient({
    maxAttempts: 1,
    requestHandler: { requestTimeout: patience, throwOnRequestTimeout: true },
  });
  const hint = `see the log of the function ${name}`;
  const read = (payload: Uint8Array | undefined): T => {
    try {
      return answer.parse(JSON.parse(new TextDecoder().decode(payload)));
    } catch (cause) {
      throw new Failure("unavailable", `${title} answered something else than it should`, { hint, cause });
    }
  };
  const invoke = (Payload: Uint8Array) => client.send(new InvokeCommand({ FunctionName: name, Payload }));
  return async (event) => {
    const bytes = new TextEncoder().encode(JSON.stringify(event));
    try {
      const { FunctionError, Payload: payload } = await invoke(bytes).catch((thrown: unknown) => {
        if (isSkew(thrown)) return invoke(bytes);
        throw thrown;
      });
      if (FunctionError !== undefined) throw new Failure("unavailable", `${title} failed`, { hint });
      return read(payload);
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      if (isTimeout(thrown))
        throw new Failure("timeout", `${title} takes longer than a request may`, { hint: late, cause: thrown });
      throw new Failure("unavailable", `${title} can't be started`, { hint, cause: thrown });
    }
  };
};

/** API Gateway gives up after 30 s. */
const patience = 25_000;

export const openDiscovery = (name: string): Discovery =>
  openInvoke({
    name,
    title: "discovery",
    answer: routes.discover.output,
    patience,
    late: "it goes on by itself: look again with sally db ls",
  });

/** Has IAM authentication switched on; undefined where the deployment has no function that may. */
export const openEnabling = (name: string): (() => Promise<readonly Enabled[]>) | undefined => {
  if (name === "") return undefined;
  const invoke = openInvoke({
    name,
    title: "switching IAM authentication on",
    answer: z.object({ enabled: z.array(Enabled) }),
    patience: 120_000,
    late: "it goes on by itself: the next run tells",
  });
  return async () => (await invoke({})).enabled;
};

/** Rotates one managed user's password; undefined where the deployment has no function that does. */
export const openRotation = (name: string): ((asked: RotateAsked) => Promise<Rotated>) | undefined =>
  name === ""
    ? undefined
    : openInvoke({
        name,
        title: "rotation",
        answer: Rotated,
        patience,
        late: "it goes on by itself: look again with sally get managed_user",
      });

/** Looks from inside the network whether a database is reached; undefined where the deployment has no function that can. */
export const openProbing = (name: string): ((event: Probing) => Promise<Probed>) | undefined =>
  name === ""
    ? undefined
    : openInvoke({ name, title: "the probe", answer: Probed, patience, late: "try again in a moment" });
