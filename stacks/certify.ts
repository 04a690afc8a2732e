// The proxies' certificate: certify keeps it fresh in its secret, and is run once before the first proxy starts. With one's
// own certificate it is not deployed at all.
import type { Ground } from "./deployment";
import { lambda } from "./lambda";
import { certificateName } from "./secrets";

export const certify = (ground: Ground, networks: $util.Output<string>) => {
  if (ground.settings.own) return undefined;
  const job = lambda("certify", ground, {
    description: "Issues the proxies' certificate from a root that stays in KMS",
    timeout: "1 minute",
    every: "1 hour",
    environment: {
      SALLYPORT_TABLE: ground.table.name,
      SALLYPORT_NETWORKS: networks,
      SALLYPORT_ROOT_KEY: ground.keys.root.id,
      SALLYPORT_CERT_SECRET: certificateName(),
    },
  });
  // again whenever the names in the certificate change
  const issued = new aws.lambda.Invocation("CertifyNow", {
    functionName: job.name,
    input: "{}",
    triggers: { networks },
  });
  return { job, issued };
};
