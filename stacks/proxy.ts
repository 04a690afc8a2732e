// The data plane: one ECS service on Fargate. SST builds the image and the service; what it would grant and open beyond need is
// taken back here, and a test holds each of these.
import { type Balancer, drainFor, gatePort, healthPort, networksOf, peerPort, plainPorts } from "./balancer";
import { clusterName, functionName, type Ground, place } from "./deployment";
import { inlinePolicies, policy } from "./grant";
import type { Network } from "./network";
import { cancelKeyName, certificateName } from "./secrets";
import { spoolFolder, tighten } from "./task";

/** So long, the most there is, ECS looks at no health check: a task ends by itself, by a deployment or when scaled in. */
const neverForHealth = 2_147_483_647;

export const logGroup = (): string => `/sallyport/${$app.stage}/proxy`;

const trust = place().apply(({ account }) =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Principal: { Service: "ecs-tasks.amazonaws.com" },
        Action: "sts:AssumeRole",
        // nobody else's tasks by way of ECS
        Condition: { StringEquals: { "aws:SourceAccount": account } },
      },
    ],
  }),
);

/** What ECS itself does before our code runs: fetch the image, open the log. */
const execution = place().apply(({ arn }) =>
  policy([
    { actions: ["ecr:GetAuthorizationToken"], resources: ["*"] },
    {
      actions: ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
      resources: [arn("ecr", "repository/sst-asset")],
    },
    {
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [arn("logs", `log-group:${logGroup()}:*`)],
    },
  ]),
);

const environment = ({ table, audit, keys, settings }: Ground, balancer: Balancer) => ({
  SALLYPORT_TABLE: table.name,
  // every address of the task's one interface; its own for its peers it learns from ECS
  SALLYPORT_LISTEN_HOST: "0.0.0.0",
  SALLYPORT_NETWORKS: networksOf(balancer, settings),
  SALLYPORT_PLAIN_PORTS: JSON.stringify(plainPorts),
  SALLYPORT_GATE_PORT: String(gatePort),
  SALLYPORT_HEALTH_PORT: String(healthPort),
  SALLYPORT_PEER_PORT: String(peerPort),
  SALLYPORT_CANCEL_SECRET: cancelKeyName(),
  SALLYPORT_CERT_SECRET: certificateName(),
  SALLYPORT_AUDIT_BUCKET: audit.bucket,
  SALLYPORT_AUDIT_KEY: keys.audit.id,
  SALLYPORT_SPOOL_DIR: spoolFolder,
  SALLYPORT_DRAIN_SECONDS: "90",
  SALLYPORT_DRAIN_FOR_SECONDS: String(drainFor),
});

export const proxy = (ground: Ground, network: Network, balancer: Balancer, needed: readonly $util.Resource[]) => {
  const { listeners, groups } = balancer;
  const { least, most } = ground.settings.tasks;
  const securityGroups = [groups.proxy.id, groups.reach.id, ...network.groups];
  const cluster = new sst.aws.Cluster("Cluster", {
    vpc: {
      id: network.vpc,
      securityGroups,
      containerSubnets: network.taskSubnets,
      loadBalancerSubnets: network.balancerSubnets,
    },
    transform: {
      cluster: (args) => {
        // chosen here: what a task may ask ECS for names the cluster
        args.name = clusterName();
      },
    },
  });
  const service = new sst.aws.Service(
    "Proxy",
    {
      cluster,
      architecture: "arm64",
      cpu: "0.5 vCPU",
      memory: "1 GB",
      image: { context: ".", dockerfile: "Dockerfile" },
      environment: environment(ground, balancer),
      logging: { name: logGroup(), retention: "3 months" },
      scaling: {
        min: least,
        max: most,
        cpuUtilization: 60,
        memoryUtilization: 70,
        scaleInCooldown: "10 minutes",
        scaleOutCooldown: "1 minute",
      },
      transform: {
        taskRole: (args) => {
          args.assumeRolePolicy = trust;
          // SST adds what a shell in the container would need
          args.inlinePolicies = inlinePolicies("proxy", ground, []);
        },
        executionRole: (args) => {
          args.assumeRolePolicy = trust;
          // SST lets it read every secret and parameter of the account
          args.inlinePolicies = [{ name: "execution", policy: execution }];
          args.managedPolicyArns = [];
        },
        taskDefinition: (args) => tighten(args),
        service: (args) => {
          args.name = functionName("proxy");
          args.enableExecuteCommand = false;
          args.networkConfiguration = {
            assignPublicIp: network.publicTasks,
            subnets: network.taskSubnets,
            securityGroups,
          };
          args.loadBalancers = listeners.map(({ target, port }) => ({
            targetGroupArn: target.arn,
            containerName: "Proxy",
            containerPort: port,
          }));
          args.deploymentMinimumHealthyPercent = 100;
          args.deploymentMaximumPercent = 200;
          // 503 keeps new connections away, while draining or with a full audit: it must not end those that are there
          args.healthCheckGracePeriodSeconds = neverForHealth;
          // moving tasks about to even out zones would cut sessions
          args.availabilityZoneRebalancing = "DISABLED";
        },
      },
    },
    { dependsOn: [...listeners.map(({ listener }) => listener), ...needed] },
  );
  return { cluster, service };
};
export type Proxies = ReturnType<typeof proxy>;
