// The proxy's settings, all from the environment and all checked before anything is opened.
import { Failure } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import { defaultNetwork, Networks } from "@sallyport/core/network";
import * as z from "zod";

const Port = z.coerce.number().int().min(0).max(65_535);

const parseJson = (text: string, context: z.RefinementCtx): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: "custom", message: "is not JSON" });
    return z.NEVER;
  }
};
const PlainPorts = z.string().default('{"postgres": 5432}').transform(parseJson).pipe(z.record(z.string(), Port));

interface CertificateEnv {
  readonly SALLYPORT_CERT_SECRET?: string | undefined;
  readonly SALLYPORT_CERT_FILE?: string | undefined;
  readonly SALLYPORT_KEY_FILE?: string | undefined;
}
type CertificatePlace = { readonly secret: string } | { readonly certFile: string; readonly keyFile: string };

const certificateOf = (env: CertificateEnv): CertificatePlace | undefined => {
  const { SALLYPORT_CERT_SECRET: secret, SALLYPORT_CERT_FILE: certFile, SALLYPORT_KEY_FILE: keyFile } = env;
  if (secret !== undefined) return certFile === undefined && keyFile === undefined ? { secret } : undefined;
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
};

interface AuditEnv {
  readonly SALLYPORT_AUDIT_BUCKET?: string | undefined;
  readonly SALLYPORT_SPOOL_DIR?: string | undefined;
  readonly SALLYPORT_AUDIT_DIR?: string | undefined;
  readonly SALLYPORT_SPOOL_BYTES: number;
}
type AuditPlace =
  | { readonly folder: string }
  | { readonly bucket: string; readonly spool: string; readonly spoolBytes: number };

const auditOf = (env: AuditEnv): AuditPlace | undefined => {
  const { SALLYPORT_AUDIT_BUCKET: bucket, SALLYPORT_SPOOL_DIR: spool, SALLYPORT_AUDIT_DIR: folder } = env;
  if (bucket === undefined) return folder === undefined || spool !== undefined ? undefined : { folder };
  if (folder !== undefined || spool === undefined) return undefined;
  return { bucket, spool, spoolBytes: env.SALLYPORT_SPOOL_BYTES };
};

export const Settings = z
  .object({
    SALLYPORT_TABLE: z.string().min(1),
    SALLYPORT_NETWORK: z.string().min(1).default(defaultNetwork),
    /** The name of the secret with the certificate that certify issues; or files of one's own. */
    SALLYPORT_CERT_SECRET: z.string().min(1).optional(),
    SALLYPORT_CERT_FILE: z.string().min(1).optional(),
    SALLYPORT_KEY_FILE: z.string().min(1).optional(),
    /** How often either is read again. */
    SALLYPORT_CERT_SECONDS: z.coerce.number().min(1).max(3_600).default(60),
    /** As the API has it: where clients are told to dial. */
    SALLYPORT_NETWORKS: z.string().default("{}").transform(parseJson).pipe(Networks),
    SALLYPORT_LISTEN_HOST: z.string().min(1).default("::"),
    SALLYPORT_PLAIN_PORTS: PlainPorts,
    SALLYPORT_GATE_PORT: Port.default(7443),
    SALLYPORT_HEALTH_PORT: Port.default(8080),
    SALLYPORT_PEER_PORT: Port.default(7444),
    /** This task's private address, as its peers dial it. On ECS it is asked for. */
    SALLYPORT_PEER_ADDRESS: z.string().min(1).optional(),
    /** Where ECS tells a task of itself; set by ECS. */
    ECS_CONTAINER_METADATA_URI_V4: z.string().min(1).optional(),
    /** The name of the secret that holds the key of the cancels. */
    SALLYPORT_CANCEL_SECRET: z.string().min(1),
    /** The bucket of the audit and the volume before it; or a folder. */
    SALLYPORT_AUDIT_BUCKET: z.string().min(1).optional(),
    SALLYPORT_SPOOL_DIR: z.string().min(1).optional(),
    SALLYPORT_AUDIT_DIR: z.string().min(1).optional(),
    /** How many bytes of audit may lie on the volume. */
    SALLYPORT_SPOOL_BYTES: z.coerce.number().int().min(8_388_608).default(1_073_741_824),
    /** The KMS key that signs how far sessions' records go. */
    SALLYPORT_AUDIT_KEY: z.string().min(1).optional(),
    /** How many bytes of audit may wait to be written. */
    SALLYPORT_AUDIT_BYTES: z.coerce.number().int().min(65_536).default(67_108_864),
    SALLYPORT_RDS_CA_FILE: z.string().min(1).optional(),
    /** CIDRs that may be dialled although no database on AWS is there. */
    SALLYPORT_UPSTREAM_ALLOW: z
      .string()
      .default("")
      .transform((text) => text.split(",").filter((part) => part.trim() !== "")),
    SALLYPORT_DRAIN_SECONDS: z.coerce.number().min(0).max(3_600).default(90),
    /** Counts up with each deployment. On ECS it is the task definition's, and asked for. */
    SALLYPORT_REVISION: z.coerce.number().int().min(0).optional(),
    /** How long sessions may go on once a newer revision serves. */
    SALLYPORT_DRAIN_FOR_SECONDS: z.coerce.number().min(0).max(172_800).default(3_600),
    /** Where ECS is asked not to stop this task; set by ECS. */
    ECS_AGENT_URI: z.string().min(1).optional(),
  })
  .refine((env) => env.SALLYPORT_PEER_ADDRESS ?? env.ECS_CONTAINER_METADATA_URI_V4, {
    path: ["SALLYPORT_PEER_ADDRESS"],
    error: "is required outside ECS",
  })
  .refine((env) => certificateOf(env), {
    path: ["SALLYPORT_CERT_SECRET"],
    error: "exactly one of this, and SALLYPORT_CERT_FILE with SALLYPORT_KEY_FILE",
  })
  .refine((env) => auditOf(env), {
    path: ["SALLYPORT_AUDIT_BUCKET"],
    error: "exactly one of this with SALLYPORT_SPOOL_DIR, and SALLYPORT_AUDIT_DIR",
  })
  .transform((env) => ({
    table: env.SALLYPORT_TABLE,
    network: env.SALLYPORT_NETWORK,
    direct: env.SALLYPORT_NETWORKS[env.SALLYPORT_NETWORK]?.direct,
    certificate: certificateOf(env) ?? { secret: "" },
    certEveryMs: env.SALLYPORT_CERT_SECONDS * 1000,
    host: env.SALLYPORT_LISTEN_HOST,
    plainPorts: env.SALLYPORT_PLAIN_PORTS,
    gatePort: env.SALLYPORT_GATE_PORT,
    healthPort: env.SALLYPORT_HEALTH_PORT,
    peerPort: env.SALLYPORT_PEER_PORT,
    /** Empty where ECS is to be asked, at `metadata`. */
    peerAddress: env.SALLYPORT_PEER_ADDRESS ?? "",
    metadata: env.ECS_CONTAINER_METADATA_URI_V4 ?? "",
    cancelSecret: env.SALLYPORT_CANCEL_SECRET,
    audit: auditOf(env) ?? { folder: "" },
    auditKey: env.SALLYPORT_AUDIT_KEY,
    auditBytes: env.SALLYPORT_AUDIT_BYTES,
    caFile: env.SALLYPORT_RDS_CA_FILE,
    allow: env.SALLYPORT_UPSTREAM_ALLOW.map((part) => part.trim()),
    drainMs: env.SALLYPORT_DRAIN_SECONDS * 1000,
    revision: env.SALLYPORT_REVISION,
    drainForMs: env.SALLYPORT_DRAIN_FOR_SECONDS * 1000,
    agent: env.ECS_AGENT_URI,
  }));
export type Settings = z.infer<typeof Settings>;

/** @throws Failure `invalid` naming the variables that are wrong */
export const readSettings = (env: Readonly<Record<string, string | undefined>>): Settings => {
  const parsed = Settings.safeParse(env);
  if (parsed.success) return parsed.data;
  throw new Failure("invalid", `the proxy's environment is not complete: ${describeIssues(parsed.error.issues)}`, {
    hint: "set the variables named; docs/operations.md lists them",
  });
};
