// What runs by the clock besides certify: discovery, rotation and the sweep. Discovery starts `enable` where the deployment opted in.
import { functionName, type Ground, secretPrefix } from "./deployment";
import { lambda } from "./lambda";

/** Events that could not be worked off, kept for two weeks; an alarm tells of the first. */
export const deadLetters = () =>
  new aws.sqs.Queue("DeadLetters", { messageRetentionSeconds: 14 * 86_400, sqsManagedSseEnabled: true });

export const schedule = (ground: Ground) => {
  const environment = { SALLYPORT_TABLE: ground.table.name };
  const opted = ground.settings.enabling.length > 0;
  const discover = lambda("discover", ground, {
    description: "Reads the AWS APIs and keeps one item per database endpoint",
    timeout: "5 minutes",
    every: "5 minutes",
    environment: { ...environment, ...(opted && { SALLYPORT_ENABLE_FUNCTION: functionName("enable") }) },
  });
  const { rotationKey } = ground.settings;
  // a run ends within a minute and a half: users are taken up for 45 s, and one that somebody died at is waited for
  const rotate = lambda("rotate", ground, {
    description: "Changes the passwords of managed users, and promotes none that has not logged in",
    timeout: "2 minutes",
    every: "1 minute",
    environment: {
      ...environment,
      SALLYPORT_PROBE_FUNCTION: functionName("probe"),
      SALLYPORT_SECRET_PREFIX: secretPrefix(),
      ...(rotationKey !== undefined && { SALLYPORT_MANAGED_KEY: rotationKey }),
    },
  });
  const sweep = lambda("sweep", ground, {
    description: "Closes the sessions of proxies that fell silent and repairs counters",
    timeout: "1 minute",
    every: "1 minute",
    environment,
  });
  const enable = opted
    ? lambda("enable", ground, {
        description: "Switches IAM authentication on where a matcher asks for it",
        timeout: "5 minutes",
        environment,
      })
    : undefined;
  return { discover, rotate, sweep, ...(enable && { enable }) };
};
