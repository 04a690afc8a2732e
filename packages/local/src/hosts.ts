// Names of AWS endpoints resolve on the laptop: preloaded (`node --import`) into a process that has SALLYPORT_HOSTS, it
// answers the names in that file from the file, and fails every other AWS name, so that nothing ever leaves the machine.
// One address per lookup, in turn, as the DNS of a reader endpoint does. Preloading is the one thing that has an effect.
import dns, { type LookupAddress, type LookupOptions } from "node:dns";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isIP } from "node:net";
import { promisify } from "node:util";

const variable = "SALLYPORT_HOSTS";
const amazon = /\.(amazonaws\.com(\.cn)?|api\.aws)$/;

/** Lower-case names, each with its addresses. */
export type Hosts = Readonly<Record<string, readonly string[]>>;

/** Writes the file at once or not at all: a process that looks something up meanwhile sees the old or the new one. */
export const writeHosts = (file: string, hosts: Hosts): void => {
  const next = `${file}.${process.pid}.next`;
  writeFileSync(next, JSON.stringify(hosts, null, 2));
  renameSync(next, file);
};

/** What to start a process with for this file to hold in it. */
export const preload = (
  file: string,
): { readonly flags: readonly string[]; readonly env: Readonly<Record<string, string>> } => ({
  flags: ["--import", import.meta.url],
  env: { [variable]: file },
});

const refusal = (code: string, hostname: string, cause?: unknown): Error =>
  Object.assign(new Error(`getaddrinfo ${code} ${hostname}`, { cause }), { code, hostname, syscall: "getaddrinfo" });

const familyOf = ({ family }: LookupOptions): number => (family === "IPv4" ? 4 : family === "IPv6" ? 6 : (family ?? 0));

/** The next address of a name for this file, undefined when it is for the real resolver. Reads the file each time: it is small, and changes. */
const resolver = (file: string) => {
  const turns = new Map<string, number>();
  return (hostname: string, options: LookupOptions): LookupAddress | undefined => {
    if (isIP(hostname) !== 0) return undefined;
    const name = hostname.toLowerCase().replace(/\.$/, "");
    let hosts: Hosts;
    try {
      hosts = JSON.parse(readFileSync(file, "utf8")) as Hosts;
    } catch (cause) {
      throw refusal("EAI_FAIL", hostname, cause);
    }
    const wanted = familyOf(options);
    const known = Object.hasOwn(hosts, name) ? hosts[name] : undefined;
    if (known === undefined && !amazon.test(name)) return undefined;
    const fitting = (known ?? []).filter((address) => wanted === 0 || isIP(address) === wanted);
    const turn = turns.get(name) ?? 0;
    const address = fitting[turn % fitting.length];
    if (address === undefined) throw refusal("ENOTFOUND", hostname);
    turns.set(name, turn + 1);
    return { address, family: isIP(address) };
  };
};

type Callback = (error: Error | null, address?: string | LookupAddress[], family?: number) => void;

/** Makes the file hold in this process, for `dns.lookup` and its promise (and so for net, tls, http and fetch); answers how to undo it. */
export const applyHosts = (file: string): (() => void) => {
  const resolve = resolver(file);
  const real = { lookup: dns.lookup, promised: dns.promises.lookup };

  const lookup = (hostname: string, given: LookupOptions | number | Callback, last?: Callback): void => {
    const callback = typeof given === "function" ? given : last;
    const options = typeof given === "number" ? { family: given } : typeof given === "function" ? {} : (given ?? {});
    if (!callback) throw new TypeError("dns.lookup needs a callback");
    let found: LookupAddress | undefined;
    try {
      found = resolve(hostname, options);
    } catch (error) {
      process.nextTick(callback, error);
      return;
    }
    if (!found) Reflect.apply(real.lookup, dns, [hostname, options, callback]);
    else if (options.all) process.nextTick(callback, null, [found]);
    else process.nextTick(callback, null, found.address, found.family);
  };
  const promised = async (hostname: string, given: LookupOptions | number = {}) => {
    const options = typeof given === "number" ? { family: given } : given;
    const found = resolve(hostname, options);
    if (!found) return real.promised(hostname, options);
    return options.all ? [found] : found;
  };

  const set = (next: unknown, nextPromised: unknown): void => {
    Object.assign(dns, { lookup: next });
    Object.assign(dns.promises, { lookup: nextPromised });
    syncBuiltinESMExports();
  };
  set(Object.assign(lookup, { [promisify.custom]: promised }), promised);
  return () => set(real.lookup, real.promised);
};

const file = process.env[variable];
if (file !== undefined) applyHosts(file);
