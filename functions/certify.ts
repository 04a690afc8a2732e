// By the clock: the proxies' certificate and what clients are told to trust are brought in line. The root's key stays in KMS, the
// leaf's in Secrets Manager; neither is ever in an answer, the table or the log.
import { openSigner } from "@sallyport/aws/signer";
import { openVault } from "@sallyport/aws/vault";
import { certify, type Office } from "@sallyport/core/certify";
import { Failure } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import { issuedHosts } from "@sallyport/core/trust";
import * as z from "zod";
import { compose, type Environment, once, type World } from "./compose.ts";
import { issuer } from "./issuer.ts";
import { type JobFunction, Nothing, openJob, Scheduled } from "./job.ts";
import { type Log, openLog } from "./log.ts";

export type Desk = Pick<Office, "vault" | "signer" | "secretName">;
const Settings = z.object({ SALLYPORT_ROOT_KEY: z.string().min(1), SALLYPORT_CERT_SECRET: z.string().min(1) });

/** Renewal begins ten days before the end: below this it has failed for days. */
const lateBelow = 5 * 86_400_000;

export const openCertify = (world: World, desk: Desk, log: Log): JobFunction =>
  openJob(world, log, z.union([Nothing, Scheduled]), async ({ requestId }) => {
    const names = issuedHosts(world.networks);
    if (names.length === 0) return { steps: [], ca: "", pins: [], expiresAt: 0 };
    const outcome = await certify({ ...world, ...desk, issuer }, names);
    const { steps, pins, expiresAt } = outcome;
    if (steps.length > 0) log.info("certify", { requestId, steps, names, pins, expiresAt });
    if (expiresAt - world.clock.now() < lateBelow) log.error("certify.late", { requestId, expiresAt });
    return outcome;
  });

const deskOf = (environment: Environment): Desk => {
  const parsed = Settings.safeParse(environment);
  if (!parsed.success) throw new Failure("internal", `settings: ${describeIssues(parsed.error.issues)}`);
  const { SALLYPORT_ROOT_KEY: key, SALLYPORT_CERT_SECRET: secretName } = parsed.data;
  return { vault: openVault(), signer: openSigner({ key }), secretName };
};

const opened = once(() => openCertify(compose(process.env), deskOf(process.env), openLog("certify")));

export const handler: JobFunction = (event, context) => opened()(event, context);
