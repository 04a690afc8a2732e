// The proxy's container as ECS runs it: nobody's root, a root folder nothing can be written to, one folder for the spool, and
// two minutes to leave.

/** The one folder that can be written to; the image makes it its user's. */
export const spoolFolder = "/spool";
/** Fargate lets a task have no longer. */
const stopTimeout = 120;

/** 503 is an answer too: draining and a full audit are the balancer's to know, not a reason to end what is running. */
const alive = "fetch('http://127.0.0.1:8080').then(() => process.exit(0), () => process.exit(1))";

interface Container {
  readonly environment: readonly { readonly name: string; readonly value: string }[];
}

const ports = ({ environment }: Container): readonly number[] => {
  const setting = (name: string): string => environment.find((one) => one.name === name)?.value ?? "";
  const plain = Object.values(JSON.parse(setting("SALLYPORT_PLAIN_PORTS")) as Record<string, number>);
  const others = ["GATE", "HEALTH", "PEER"].map((name) => Number(setting(`SALLYPORT_${name}_PORT`)));
  return [...plain, ...others];
};

const tightened = (container: Container) => ({
  ...container,
  // SST maps all 65,535 ports and gives the process a terminal
  portMappings: ports(container).map((containerPort) => ({ containerPort, protocol: "tcp" })),
  pseudoTerminal: false,
  user: "1000:1000",
  readonlyRootFilesystem: true,
  mountPoints: [{ sourceVolume: "spool", containerPath: spoolFolder, readOnly: false }],
  linuxParameters: { initProcessEnabled: true, capabilities: { drop: ["ALL"] } },
  ulimits: [{ name: "nofile", softLimit: 65_536, hardLimit: 65_536 }],
  healthCheck: { command: ["CMD", "node", "-e", alive], interval: 30, timeout: 5, retries: 3, startPeriod: 30 },
  stopTimeout,
});

/** For SST's `transform.taskDefinition`. */
export const tighten = (args: aws.ecs.TaskDefinitionArgs): undefined => {
  // nothing else of the task's disk can be written to; it ends with the task
  args.volumes = [{ name: "spool" }];
  args.containerDefinitions = $util
    .output(args.containerDefinitions)
    .apply((text) => JSON.stringify((JSON.parse(text) as Container[]).map(tightened)));
};
