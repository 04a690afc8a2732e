// Many sessions at once that only stay: what each weighs in the proxy. The database is one of protocol alone (e2e/light.ts), since a
// real one's process for each would be what is measured.
import { doorOf, eventually } from "../e2e/attack.ts";
import { endAll, type Stayed, stay } from "../e2e/crowd.ts";
import { makeLight } from "../e2e/light.ts";
import { roleOf } from "../e2e/owner.ts";
import { openWorld } from "../e2e/world.ts";

export const holdMany = async (count: number): Promise<Stayed> => {
  const world = await openWorld();
  try {
    const light = makeLight();
    await world.laptop.databases.addInstance({ id: "light", tags: { env: "load" } }, light);
    await world.discover();
    await world.put(roleOf("crowd", { bearer_logins: 5_000 }, "load"));
    const ana = await world.person("ana", ["crowd"]);
    const [proxy] = world.proxies;
    if (!proxy) throw new Error("a world has a proxy");
    const door = doorOf(world.laptop, await world.bearer(ana, { database: "light" }), proxy.ports.postgres);
    return await stay(door, proxy.pid, count, async (sessions) => {
      for (const { socket } of sessions) socket.destroy();
      await eventually("the upstream ends", () => light.live() === 0, 30_000);
    });
  } finally {
    endAll();
    await world.close();
  }
};
