// The proxy service of the laptop account: proxies as tasks behind the balancers, each with the task role's keys and an agent
// beside it, and a deployment that goes as ECS and a network load balancer make it go.
import { join } from "node:path";
import { type ProtocolName, protocolNames } from "@sallyport/core/database";
import type { Account, Credentials } from "./account.ts";
import { type Agent, openAgent } from "./agent.ts";
import type { Balancer } from "./balancer.ts";
import { taskArn } from "./deployment.ts";
import { preload } from "./hosts.ts";
import { launcher } from "./launcher.ts";
import { openCredentialsEndpoint, startTask, type TaskProcess } from "./task.ts";

/** What people connect to: a plain port for each protocol, and the gate. */
export type Door = ProtocolName | "gate";
export interface ProxyPorts extends Readonly<Record<Door, number>> {
  readonly health: number;
  readonly peer: number;
}
export interface ProxyTask extends TaskProcess {
  readonly ports: ProxyPorts;
  readonly id: string;
  /** The ECS agent beside it. */
  readonly agent: Omit<Agent, "close" | "env">;
}

type Env = Readonly<Record<string, string>>;

export interface Fleet {
  start(env?: Env): Promise<ProxyTask>;
  stop(task: ProxyTask, signal?: NodeJS.Signals): Promise<void>;
  /**
   * A deployment: a task of the next revision starts beside each old one; no new connections go to one whose health port says
   * 503; SIGTERM comes to an old one when it is not protected. Resolves when the new serve; `done` when the old are gone.
   */
  roll(env?: Env): Promise<{ readonly started: readonly ProxyTask[]; readonly done: Promise<void> }>;
  tasks(): readonly ProxyTask[];
  close(): Promise<void>;
}

const checkEvery = 250;

/** As a target group's health check: 200 is healthy, all else is not. */
const isHealthy = async ({ ports }: ProxyTask): Promise<boolean> => {
  try {
    const { status } = await fetch(`http://127.0.0.1:${ports.health}/`, { signal: AbortSignal.timeout(5_000) });
    return status === 200;
  } catch {
    return false;
  }
};
const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });

interface Held {
  readonly agent: Agent;
  closeKeys(): Promise<void>;
  healthy: boolean;
}

/** No task yet; each that is started goes behind the balancers, each that is stopped leaves them first. */
export const openFleet = (of: {
  readonly account: Account;
  readonly balancers: Readonly<Record<Door, Balancer>>;
  /** For one task: gives its keys, as often as it asks. */
  readonly credentials: () => () => Credentials;
  readonly hostsFile: string;
  /** A folder for the tasks' volumes, one each. */
  readonly volumes: string;
  readonly env: Env;
  readonly now: () => number;
}): Fleet => {
  const tasks = new Map<ProxyTask, Held>();
  /** Told to stop, and not gone yet. */
  const leaving = new Set<ProxyTask>();
  let started = 0;
  let revision = 1;
  let open = true;
  const retarget = (): void => {
    const all = [...tasks];
    const healthy = all.filter(([, { healthy }]) => healthy);
    // with no healthy target at all the balancer sends to every one
    const targets = (healthy.length > 0 ? healthy : all).map(([task]) => task);
    for (const door of [...protocolNames, "gate"] as const)
      of.balancers[door].target(targets.map((task) => task.ports[door]));
  };
  const start = async (env: Env = {}): Promise<ProxyTask> => {
    const { account, now } = of;
    const credentials = of.credentials();
    const arn = taskArn(account, String(++started));
    const keys = await openCredentialsEndpoint(credentials);
    const agent = await openAgent({ account, credentials, taskArn: arn, now });
    const { flags, env: hosts } = preload(of.hostsFile);
    const own = { SALLYPORT_SPOOL_DIR: join(of.volumes, String(started)), SALLYPORT_REVISION: String(revision) };
    try {
      const entry = new URL("../../proxy/src/main.ts", import.meta.url).pathname;
      const process = await startTask({
        entry,
        flags,
        env: { ...of.env, ...own, ...hosts, ...keys.env, ...agent.env, ...env },
        launcher: launcher("KILL"),
      });
      const { isProtected, fail } = agent;
      const task: ProxyTask = {
        ...process,
        ports: process.ready["ports"] as ProxyPorts,
        id: String(process.ready["proxy"]),
        agent: { isProtected, fail },
      };
      tasks.set(task, { agent, closeKeys: keys.close, healthy: true });
      retarget();
      return task;
    } catch (thrown) {
      await agent.close();
      await keys.close();
      throw thrown;
    }
  };
  const stop = async (task: ProxyTask, signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    const held = tasks.get(task);
    tasks.delete(task);
    leaving.add(task);
    retarget();
    task.signal(signal);
    await task.exited;
    leaving.delete(task);
    await held?.agent.close();
    await held?.closeKeys();
  };
  /** Until it is gone: out of balancing while its health says so, stopped when it may be. */
  const replace = async (old: ProxyTask, successors: readonly ProxyTask[]): Promise<void> => {
    for (;;) {
      const held = tasks.get(old);
      if (!held || !open) return;
      held.healthy = await isHealthy(old);
      retarget();
      const ready = await Promise.all(successors.map(isHealthy));
      if (ready.every(Boolean) && !held.agent.isProtected()) return stop(old);
      await pause(checkEvery);
    }
  };
  return {
    start,
    stop,
    roll: async (env) => {
      const old = [...tasks.keys()];
      revision += 1;
      const next = await Promise.all(old.map(() => start(env)));
      const done = Promise.all(old.map((task) => replace(task, next))).then(() => {});
      // whoever does not wait for it must not be hit by it
      done.catch(() => {});
      return { started: next, done };
    },
    tasks: () => [...tasks.keys()],
    close: async () => {
      open = false;
      await Promise.all([...leaving].map((task) => task.kill()));
      await Promise.all([...tasks.keys()].map((task) => stop(task, "SIGKILL")));
    },
  };
};
