// The proxy service of the laptop account: proxies as tasks behind the balancers, each with the task role's keys.
import { join } from "node:path";
import { type ProtocolName, protocolNames } from "@sallyport/core/database";
import type { Credentials } from "./account.ts";
import type { Balancer } from "./balancer.ts";
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
}

export interface Fleet {
  start(env?: Readonly<Record<string, string>>): Promise<ProxyTask>;
  stop(task: ProxyTask, signal?: NodeJS.Signals): Promise<void>;
  tasks(): readonly ProxyTask[];
  close(): Promise<void>;
}

/** No task yet; each that is started goes behind the balancers, each that is stopped leaves them first. */
export const openFleet = (of: {
  readonly balancers: Readonly<Record<Door, Balancer>>;
  /** For one task: gives its keys, as often as it asks. */
  readonly credentials: () => () => Credentials;
  readonly hostsFile: string;
  /** A folder for the tasks' volumes, one each. */
  readonly volumes: string;
  readonly env: Readonly<Record<string, string>>;
}): Fleet => {
  const tasks = new Map<ProxyTask, () => Promise<void>>();
  let started = 0;
  const retarget = (): void => {
    for (const door of [...protocolNames, "gate"] as const)
      of.balancers[door].target([...tasks.keys()].map((task) => task.ports[door]));
  };
  const start = async (env: Readonly<Record<string, string>> = {}): Promise<ProxyTask> => {
    const keys = await openCredentialsEndpoint(of.credentials());
    const { flags, env: hosts } = preload(of.hostsFile);
    try {
      const entry = new URL("../../proxy/src/main.ts", import.meta.url).pathname;
      const process = await startTask({
        entry,
        flags,
        env: { ...of.env, SALLYPORT_SPOOL_DIR: join(of.volumes, String(++started)), ...hosts, ...keys.env, ...env },
        launcher: launcher("KILL"),
      });
      const task: ProxyTask = {
        ...process,
        ports: process.ready["ports"] as ProxyPorts,
        id: String(process.ready["proxy"]),
      };
      tasks.set(task, keys.close);
      retarget();
      return task;
    } catch (thrown) {
      await keys.close();
      throw thrown;
    }
  };
  const stop = async (task: ProxyTask, signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    const closeKeys = tasks.get(task);
    tasks.delete(task);
    retarget();
    task.signal(signal);
    await task.exited;
    await closeKeys?.();
  };
  return {
    start,
    stop,
    tasks: () => [...tasks.keys()],
    close: async () => {
      await Promise.all([...tasks.keys()].map((task) => stop(task, "SIGKILL")));
    },
  };
};
