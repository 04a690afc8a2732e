// S-46: what is installed is what was looked at, runs nothing while it is installed but what is allowed, and no secret lies in the
// repository.
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
}
const locked = Object.entries(
  (JSON.parse(read("package-lock.json")) as { packages: Record<string, Entry> }).packages,
).filter(([path, { link }]) => path.includes("node_modules/") && !link);
const manifest = JSON.parse(read("package.json")) as { allowScripts: Record<string, boolean> };

describe("the lockfile", () => {
  it("S-46 holds a SHA-512 for each package, but those that only other platforms install", () => {
    expect(locked.length).toBeGreaterThan(200);
    const bare = locked.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ""));
    // the mirror that it was made with lacks them; npm skips them by what is said here
    const elsewhere = ({ optional, os, cpu, libc }: Entry): boolean =>
      optional === true &&
      ((os !== undefined && !os.includes("linux")) ||
        (cpu !== undefined && !cpu.includes("x64")) ||
        (libc !== undefined && !libc.includes("glibc")));
    expect(bare.filter(([, entry]) => !elsewhere(entry)).map(([path]) => path)).toEqual([]);
  });

  it("S-46 takes nothing from git, a file or another registry", () => {
    const from = locked.flatMap(([path, { resolved, version }]) => [
      ...(resolved !== undefined && !resolved.startsWith("https://registry.npmjs.org/") ? [`${path} ${resolved}`] : []),
      ...(/^(git|file|http|github)/.test(version ?? "git") ? [`${path} ${version}`] : []),
    ]);
    expect(from).toEqual([]);
  });

  it("S-46 lets packages run scripts at install only by name", () => {
    const nameOf = (path: string): string => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    const scripted = new Set(locked.filter(([, one]) => one.hasInstallScript).map(([path]) => nameOf(path)));
    const allowed = Object.keys(manifest.allowScripts).filter((name) => manifest.allowScripts[name]);
    expect(scripted.size).toBeGreaterThan(0);
    // another platform's build of what is allowed
    const family = (name: string): string => name.replace(/(linux|darwin|windows)-(x64|arm64|ia32|arm|ppc64)$/, "*");
    expect([...scripted].filter((name) => !allowed.some((one) => family(one) === family(name)))).toEqual([]);
  });
});

interface Report {
  readonly auditReportVersion?: number;
  readonly vulnerabilities?: Readonly<Record<string, { readonly name: string; readonly severity: string }>>;
}
/** What npm says of what is deployed, or why it can't say. Its exit code tells of findings, not of failures. */
const audit = (): Report | string => {
  const { stdout, error } = spawnSync("npm", ["audit", "--omit=dev", "--json"], {
    cwd: root,
    encoding: "utf8",
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) return error.message;
  const report = JSON.parse(stdout === "" ? "{}" : stdout) as Report & { message?: string };
  if (report.auditReportVersion !== undefined) return report;
  return `the registry answers no audit: ${report.message ?? "nothing"}`;
};
/** Those that may not be shipped. @throws Error for what is no report */
const grave = ({ auditReportVersion, vulnerabilities }: Report): readonly string[] => {
  if (auditReportVersion !== 2 || vulnerabilities === undefined) throw new Error("this is no report that we can read");
  return Object.values(vulnerabilities).flatMap(({ name, severity }) =>
    ["high", "critical"].includes(severity) ? [`${name}: ${severity}`] : [],
  );
};

describe("npm's advisories", () => {
  it("S-46 say nothing grave of what is deployed", { timeout: 70_000 }, ({ skip }) => {
    const report = audit();
    if (typeof report === "string") return skip(report);
    expect(grave(report)).toEqual([]);
  });

  it("S-46 would fail this with a grave one, and with what is no report", () => {
    const of = (severity: string): Report => ({
      auditReportVersion: 2,
      vulnerabilities: { a: { name: "a", severity } },
    });
    expect(["info", "low", "moderate"].flatMap((severity) => grave(of(severity)))).toEqual([]);
    expect(["high", "critical"].flatMap((severity) => grave(of(severity)))).toEqual(["a: high", "a: critical"]);
    expect(() => grave({})).toThrow("no report");
    expect(() => grave({ auditReportVersion: 3, vulnerabilities: {} })).toThrow("no report");
  });
});

/** What tells a secret by its looks, and what is none: the examples of AWS's own documentation. */
const secrets: readonly RegExp[] = [
  /\bA(?:KIA|SIA)(?!IOSFODNN7EXAMPLE|I44QH8DHBEXAMPLE)[A-Z2-7]{16}\b/,
  /-----BEGIN (?:RSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY-----\s*\n[A-Za-z0-9+/=\s]{100,}/,
  /\bgh[pousr]_[A-Za-z0-9]{36,}\b/,
  /\bnpm_[A-Za-z0-9]{36}\b/,
  /\bxox[abpr]-[0-9A-Za-z-]{20,}/,
  /\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}/,
  /\/\/[^\s/:]+\/:_authToken=\S{8,}/,
];

describe("the repository", () => {
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);

  it("S-46 holds no secret", () => {
    expect(files.length).toBeGreaterThan(300);
    const found = files.flatMap((file) => {
      const text = read(file);
      return secrets.filter((pattern) => pattern.test(text)).map((pattern) => `${file}: ${pattern.source}`);
    });
    expect(found).toEqual([]);
  });

  it.each([
    `AKIA${"Q".repeat(16)}`,
    `-----BEGIN PRIVATE KEY-----\n${"MIGH".repeat(30)}\n`,
    `ghp_${"a1".repeat(18)}`,
    `npm_${"b2".repeat(18)}`,
    // not written out: this file is one of the repository's
    `//registry.example/:_${"authToken"}=${"c".repeat(20)}`,
  ])("S-46 would be found with one in it: %s", (text) => {
    expect(secrets.some((pattern) => pattern.test(text))).toBe(true);
  });

  it("S-46 holds no file that secrets are kept in", () => {
    expect(
      files.filter((file) => /(^|\/)(\.env(\..*)?|.*\.(pem|key|p12|pfx|jks)|id_(rsa|ed25519)|credentials)$/.test(file)),
    ).toEqual([]);
  });
});
