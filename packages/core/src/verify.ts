// Does this password log a managed user in, at every node of everything that lets it in? The probe stands inside the network and
// answers node by node; here that becomes one answer. A user that no cache lets in can't be asked about: it is unreachable.
import { Failure } from "./failure.ts";
import type { ManagedUser } from "./managed.ts";
import type { Probed, Probing } from "./probe.ts";
import type { Answer } from "./rotation.ts";
import type { Secret } from "./secret.ts";

/** The function inside the network; absent where the deployment has none. */
export type Ask = (event: Probing) => Promise<Probed>;

/** @throws Failure `unavailable` when the probe can't be asked */
export const verify = async (ask: Ask | undefined, user: ManagedUser, password: Secret): Promise<Answer> => {
  if (!ask)
    throw new Failure("unavailable", "nothing can log in from inside the network", {
      hint: "deploy the function probe: no password is promoted without it",
    });
  const { partition, region, caches } = user;
  const events = caches.flatMap(({ endpoints, database, vpcId }) =>
    endpoints.map(
      (endpoint): Probing => ({
        protocol: "redis",
        endpoint,
        partition,
        region,
        database,
        ...(vpcId !== undefined && { vpcId }),
        user: user.user,
        password: password.reveal(),
        // AUTH sends it as it is, inside verified TLS
        methods: "clear",
      }),
    ),
  );
  const probed = await Promise.all(events.map(ask));
  const nodes = probed.flatMap((one) => one.nodes);
  const bad = nodes.find(({ result }) => result === "refused") ?? nodes.find(({ result }) => result !== "ok");
  if (bad?.result === "refused") return { said: "refused", reason: `${bad.address}: ${bad.reason ?? ""}` };
  if (bad) return { said: "unreachable", reason: `${bad.address}: ${bad.reason ?? ""}` };
  if (nodes.length === 0) return { said: "unreachable", reason: "no cache that is known here lets the user in" };
  return { said: "ok" };
};
