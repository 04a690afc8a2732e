// The probe logs in to a database for real, from where the proxies stand, with what it is handed. Its code has no AWS permission.
import type { Balancer } from "./balancer";
import type { Ground } from "./deployment";
import { lambda } from "./lambda";
import type { Network } from "./network";

export const probe = (ground: Ground, network: Network, { groups }: Balancer) =>
  lambda("probe", ground, {
    description: "Logs in at a database from inside the network, on request",
    timeout: "30 seconds",
    vpc: { privateSubnets: network.taskSubnets, securityGroups: [groups.reach.id, ...network.groups] },
  });
