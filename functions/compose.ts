// From the environment to the ports that core asks for, once per cold start. Settings that are missing or wrong stop the
// function before it serves anything.
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { openTable } from "@sallyport/aws/table";
import { Failure } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import { Networks } from "@sallyport/core/network";
import type { Clock, Digest, Random } from "@sallyport/core/ports";
import type { PasswordDesk } from "@sallyport/identity/login";
import * as z from "zod";
import { type Discovery, openDiscovery, openEnabling, openProbing, openRotation } from "./invoke.ts";

/** Everything the functions need of the world. */
export interface World extends PasswordDesk {
  readonly networks: Networks;
  /** The discover function. */
  readonly discovery: Discovery;
  /** The functions that switch IAM authentication on and look from inside the network, where the deployment has them. */
  readonly enabling: ReturnType<typeof openEnabling>;
  readonly probing: ReturnType<typeof openProbing>;
  /** The function that rotates passwords, where the deployment has one. */
  readonly rotation: ReturnType<typeof openRotation>;
  /** Where this deployment's API is. */
  readonly api: string;
}
export type Environment = Readonly<Record<string, string | undefined>>;

export const clock: Clock = { now: Date.now };
export const random: Random = { bytes: (count) => randomBytes(count) };
export const digest: Digest = { sha256: (text) => createHash("sha256").update(text, "utf8").digest("hex") };

const json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: "custom", message: "not JSON" });
    return z.NEVER;
  }
});
const Settings = z.object({
  SALLYPORT_TABLE: z.string().min(1),
  SALLYPORT_NETWORKS: json.pipe(Networks).default({}),
  SALLYPORT_DISCOVER_FUNCTION: z.string().default(""),
  SALLYPORT_ENABLE_FUNCTION: z.string().default(""),
  SALLYPORT_PROBE_FUNCTION: z.string().default(""),
  SALLYPORT_ROTATE_FUNCTION: z.string().default(""),
  SALLYPORT_API_URL: z.string().default(""),
});

/** @throws Failure `internal` naming the setting that is wrong */
export const compose = (environment: Environment): World => {
  const parsed = Settings.safeParse(environment);
  if (!parsed.success) throw new Failure("internal", `settings: ${describeIssues(parsed.error.issues)}`);
  const settings = parsed.data;
  return {
    store: openTable({ name: settings.SALLYPORT_TABLE }),
    clock,
    random,
    digest,
    wait: (ms) => wait(ms),
    networks: settings.SALLYPORT_NETWORKS,
    discovery: openDiscovery(settings.SALLYPORT_DISCOVER_FUNCTION),
    enabling: openEnabling(settings.SALLYPORT_ENABLE_FUNCTION),
    probing: openProbing(settings.SALLYPORT_PROBE_FUNCTION),
    rotation: openRotation(settings.SALLYPORT_ROTATE_FUNCTION),
    api: settings.SALLYPORT_API_URL,
  };
};

/** What `open` makes, made when it is first asked for. */
export const once = <T>(open: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: open() };
    return made.value;
  };
};
