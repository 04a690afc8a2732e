// The house's shape as a test: who may import whom, what nothing may be called, what no line may say.
// design: imports point inwards, core knows neither Node nor AWS, and an exception is written here or nowhere.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join, posix, relative, resolve, sep } from "node:path";
import { expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const folders = ["functions", "packages", "stacks", "test", "tools", "docs", "demo"];
const limit = 400;
const forbiddenNames = [
  "utils",
  "util",
  "helpers",
  "helper",
  "common",
  "misc",
  "manager",
  "service",
  "handler",
  "impl",
  "base",
];

interface Part {
  readonly folder: string;
  /** The workspaces whose modules it may import, without `@sallyport/`. */
  readonly workspaces: readonly string[];
  /** The Node modules it may import; all where absent. */
  readonly node?: readonly string[];
}

const parts: readonly Part[] = [
  { folder: "packages/core", workspaces: [], node: [] },
  {
    folder: "packages/wire",
    workspaces: ["core"],
    node: ["buffer", "crypto", "events", "net", "stream", "stream/promises", "util", "timers", "timers/promises"],
  },
  { folder: "packages/aws", workspaces: ["core"] },
  { folder: "packages/identity", workspaces: ["core"] },
  { folder: "packages/proxy", workspaces: ["core", "wire", "aws"] },
  { folder: "packages/local", workspaces: ["core", "aws"] },
  { folder: "packages/client", workspaces: ["core"] },
  { folder: "packages/cli", workspaces: ["core", "client"] },
  { folder: "functions", workspaces: ["core", "wire", "aws", "identity"] },
];

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

/** Every module a source names: static, re-exported, dynamic or resolved. */
const importsOf = (text: string): readonly Import[] => {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const named = code.matchAll(/^\s*(?:import|export)\s+(type\s)?[^"'`;()]*?\bfrom\s*["']([^"']+)["']/gm);
  const bare = code.matchAll(/^\s*import\s*["']([^"']+)["']/gm);
  const called = code.matchAll(/\b(?:import|require|resolve)\(\s*["']([^"']+)["']/g);
  return [
    ...[...named].map(([, type, from]) => ({ from: from ?? "", typeOnly: type !== undefined })),
    ...[...bare, ...called].map(([, from]) => ({ from: from ?? "", typeOnly: false })),
  ];
};

const files = folders
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
  .filter((file) => !file.includes("node_modules/"));
const top = readdirSync(root, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
const texts = new Map([...files, ...top].map((file) => [file, readFileSync(join(root, file), "utf8")]));
const textOf = (file: string): string => texts.get(file) ?? "";
const sources = files.filter((file) => [".ts", ".mjs"].includes(extname(file)));
const shipped = sources.filter((file) => /^(functions|packages|stacks)\//.test(file));
const inside = (folder: string): readonly string[] => sources.filter((file) => file.startsWith(`${folder}/`));

/** The files where `pattern` stands, as `file:line`. */
const where = (pattern: RegExp, among: Iterable<string>): readonly string[] =>
  [...among].flatMap((file) =>
    textOf(file)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}`] : [])),
  );

/** Why `file`, a source of `part`, may not import this; undefined where it may. */
const objection = (part: Part, file: string, { from, typeOnly }: Import): string | undefined => {
  const node = /^node:(.+)$/.exec(from)?.[1];
  if (node !== undefined && part.node !== undefined && !part.node.includes(node)) return "Node module not allowed here";
  if (part.folder === "packages/wire" && node === "net" && !typeOnly) return "wire is handed its sockets: types only";
  if (from.startsWith(".")) {
    const target = posix.join(posix.dirname(file), from);
    return target.startsWith(`${part.folder}/`) ? undefined : "leaves its own package";
  }
  const workspace = /^@sallyport\/([^/]+)/.exec(from)?.[1];
  if (workspace !== undefined && !part.workspaces.includes(workspace)) return "wrong direction";
  return undefined;
};

it("reads every way to import", () => {
  const text = `import a from "a";
import type { B } from 'b';
import {
  c,
  type D,
} from "c";
export * from "d";
import "e";
const f = await import("f");
const g = require.resolve("g");
// import h from "h";
/* import i from "i"; */
`;
  const found = importsOf(text);
  expect(found.map(({ from }) => from).sort()).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
  expect(found.filter(({ typeOnly }) => typeOnly).map(({ from }) => from)).toEqual(["b"]);
});

it.each(parts)("$folder imports only $workspaces", (part) => {
  const wrong = inside(part.folder).flatMap((file) =>
    importsOf(textOf(file)).flatMap((found) => {
      const why = objection(part, file, found);
      return why === undefined ? [] : [`${file}: ${found.from}: ${why}`];
    }),
  );
  expect(wrong).toEqual([]);
});

it.each(parts)("$folder declares only $workspaces", ({ folder, workspaces }) => {
  const manifest: Record<string, Record<string, string> | undefined> = JSON.parse(textOf(`${folder}/package.json`));
  const fields = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
  const declared = fields.flatMap((field) => Object.keys(manifest[field] ?? {}));
  const wrong = declared.filter((name) => /^@sallyport\//.test(name) && !workspaces.includes(name.slice(11)));
  expect(wrong).toEqual([]);
});

it("has a rule for every package", () => {
  const packages = readdirSync(join(root, "packages")).map((name) => `packages/${name}`);
  expect(packages.filter((folder) => !parts.some((part) => part.folder === folder))).toEqual([]);
});

it("lets the stacks import core's permissions and facts, and nothing else of ours", () => {
  const allowed = ["@sallyport/core/permission", "@sallyport/core/database"];
  const wrong = inside("stacks").flatMap((file) =>
    importsOf(textOf(file))
      .filter(({ from }) => !allowed.includes(from) && (from.startsWith("@sallyport/") || from.startsWith("..")))
      .map(({ from }) => `${file}: ${from}`),
  );
  expect(wrong).toEqual([]);
});

it("keeps middy in functions/http.ts", () => {
  const users = shipped.filter((file) => importsOf(textOf(file)).some(({ from }) => from.startsWith("@middy/")));
  expect(users.filter((file) => file !== "functions/http.ts")).toEqual([]);
});

it("keeps AWS out of core, wire, client and the command line but for init and login", () => {
  const barred = ["core", "wire", "client", "cli", "identity"].flatMap((name) => inside(`packages/${name}`));
  const users = barred.filter((file) => importsOf(textOf(file)).some(({ from }) => /^@(aws-sdk|smithy)\//.test(from)));
  expect(users.filter((file) => !/^packages\/cli\/src\/(commands\/)?(init|login)\.ts$/.test(file))).toEqual([]);
});

it("names files by what they are", () => {
  const theirs = "secrets-manager"; // the AWS service is called so
  const words = (file: string) =>
    file.split("/").flatMap((name) => name.replace(/\..*$/, "").replace(theirs, "").split("-"));
  expect(sources.filter((file) => words(file).some((word) => forbiddenNames.includes(word)))).toEqual([]);
});

it(`keeps every file within ${limit} lines`, () => {
  expect(sources.filter((file) => textOf(file).split("\n").length > limit + 1)).toEqual([]);
});

it("never turns certificate checks off", () => {
  expect(where(/rejectUnauthorized["']?\s*:(?!\s*true\b)/, sources)).toEqual([]);
  // a test may set the variable to prove that it changes nothing
  const untested = sources.filter((file) => !file.startsWith("test/"));
  expect(where(/NODE_TLS_REJECT_UNAUTHORIZED/, untested)).toEqual([]);
});

it("mints a Grant in access.ts alone", () => {
  const minted = where(new RegExp(`\\bas ${"Grant"}\\b|<${"Grant"}>\\s*[({]`), sources);
  expect(minted.filter((place) => !place.startsWith("packages/core/src/access.ts:"))).toEqual([]);
});

it("gives a Grant without a decision to the probe alone, which lets nobody through", () => {
  const users = new Set(where(/\bgrantProbe\b/, shipped).map((place) => place.replace(/:\d+$/, "")));
  expect([...users].sort()).toEqual(["functions/probe.ts", "packages/core/src/access.ts"]);
});

it("draws chance from the Random port, but for the jitter between tries", () => {
  const jitter = ["packages/aws/src/table.ts", "packages/proxy/src/snapshot.ts"];
  const drawn = where(/Math\.random/, shipped);
  expect(drawn.filter((place) => !jitter.some((file) => place.startsWith(`${file}:`)))).toEqual([]);
});

it("names no machine's paths", () => {
  const places = new RegExp(`(^|[^\\w.])/(${["work", "root", "home/\\w", "Users/\\w"].join("|")})/`);
  expect(where(places, texts.keys())).toEqual([]);
});

it("finds sources to check", () => {
  expect(dirname(import.meta.filename)).toBe(join(root, "test"));
  expect(sources.length).toBeGreaterThan(20);
});
