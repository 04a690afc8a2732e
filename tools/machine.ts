// Brings the Debian packages the tests use onto the machine; where it may not, says what is missing and how to get it.
// Installed servers must not start themselves: policy-rc.d forbids it while apt works, and is removed again whatever happens.
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

/** Each entry names packages of which one is enough, the preferred first. */
type Packages = readonly (readonly [preferred: string, ...others: string[]])[];
const wanted: Packages = [
  ["postgresql-15", "postgresql"],
  ["postgresql-client"],
  ["python3-psycopg2"],
  ["python3-asyncpg"],
  ["python3-pymongo"],
  ["mariadb-server"],
  ["mariadb-client"],
  ["libmariadb3"],
  ["python3-pymysql"],
  ["redis-server"],
  ["redis-tools"],
  ["python3-redis"],
  // the JRE alone can't run a client that is kept as source
  ["default-jdk-headless", "openjdk-17-jdk-headless"],
  ["libmariadb-java"],
  // it adds itself to the logins of the whole system: only where nobody lives
  ...(process.env["CI"] === undefined ? [] : [["libpam-script"] as const]),
];
const policy = "/usr/sbin/policy-rc.d";
const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };

const call = (command: string, ...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(command, args, { encoding: "utf8", env });

const installed = (name: string): boolean =>
  call("dpkg-query", "--status", name).stdout?.includes("\nStatus: install ok installed\n") ?? false;

const available = (name: string): boolean => call("apt-cache", "show", "--no-all-versions", name).status === 0;

const aptGet = (...args: string[]): boolean => {
  const options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300"];
  const { status, signal } = spawnSync("apt-get", [...options, ...args], { stdio: "inherit", env });
  if (signal !== null) throw new Error(`apt-get was stopped by ${signal}`);
  return status === 0;
};

/** Runs `work` while no package may start a service, unless the machine already has a policy of its own. */
const withoutServices = (work: () => boolean): boolean => {
  if (existsSync(policy)) return work();
  // The listener keeps an interrupt, which stops apt too, from ending this process before the file is gone.
  const stopped = () => process.exit(130);
  process.on("SIGINT", stopped);
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return work();
  } finally {
    rmSync(policy, { force: true });
    process.off("SIGINT", stopped);
  }
};

const install = (choices: Packages): boolean => {
  if (!aptGet("update")) return false;
  const names = choices.map((choice) => choice.find(available) ?? choice[0]);
  return withoutServices(() => aptGet("install", "--no-install-recommends", ...names));
};

/** Returns what is still missing, as one sentence that says how to get it, or undefined where nothing is. */
export const prepare = (packages: Packages = wanted): string | undefined => {
  const debian = process.platform === "linux" && existsSync("/etc/debian_version");
  const missing = () => packages.filter((choice) => !choice.some(installed));
  const before = debian ? missing() : packages;
  if (before.length === 0) return undefined;
  const names = before.map(([name]) => name).join(" ");
  if (!debian) {
    return `this is not Debian or Ubuntu, so the tests that use these packages run only where their programs are on PATH: ${names}`;
  }
  if (process.getuid?.() !== 0) return `missing: ${names}; get them with: sudo apt-get install ${names}`;
  console.log(`installing ${names}`);
  if (install(before) && missing().length === 0) return undefined;
  return `apt-get could not install ${missing()
    .map(([name]) => name)
    .join(" ")}; see its output above, then run: apt-get update && apt-get install ${names}`;
};
