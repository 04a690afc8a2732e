// The stacks in the order they build on each other: what is kept, where the proxies stand, the functions, the proxies, and
// last what guards and watches them all.
import { alarms } from "./alarms";
import { api } from "./api";
import { audit } from "./audit";
import { balancer, networksOf } from "./balancer";
import { certify } from "./certify";
import type { Ground } from "./deployment";
import { keys } from "./keys";
import { network } from "./network";
import { policies } from "./policies";
import { probe } from "./probe";
import { proxy } from "./proxy";
import { deadLetters, schedule } from "./schedule";
import { secrets } from "./secrets";
import { readSettings } from "./settings";
import { table } from "./table";

export const deploy = () => {
  const settings = readSettings($app.stage === "production");
  const ground: Ground = { settings, table: table(), keys: keys(), audit: audit(settings), letters: deadLetters() };
  const cancelKey = secrets();
  const where = network(settings);
  const doors = balancer(where, settings);
  const networks = networksOf(doors, settings);

  const { gateway, handler, bootstrap } = api(ground, networks);
  const jobs = schedule(ground);
  const issuer = certify(ground, networks);
  const prober = probe(ground, where, doors);
  const made = issuer ? [issuer.issued] : [];
  const proxies = proxy(ground, where, doors, [cancelKey, ...made]);

  const issuing = issuer && { certify: issuer.job };
  const writers = { api: handler, bootstrap, ...jobs, ...issuing };
  const roleOf = (job: sst.aws.Function) => job.nodes.role.arn;
  policies(
    ground,
    {
      proxy: proxies.service.nodes.taskRole.arn,
      certify: issuer && roleOf(issuer.job),
      writers: Object.values(writers).map(roleOf),
    },
    made,
  );
  alarms(ground, { gateway, functions: { ...writers, probe: prober }, balancer: doors, proxies });
  return { api: gateway.url, bootstrap: bootstrap.name, proxies: doors.host, databasesLetIn: doors.groups.reach.id };
};
