// The proxy's image: what the Dockerfile says, and that its steps give something that starts. No builder is needed: the steps are
// done by npm in a folder of their own.
import { execFile, spawn } from "node:child_process";
import { cpSync, existsSync, globSync, mkdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "./bundle.ts";
import { container } from "./graph.ts";

const run = promisify(execFile);
const text = readFileSync(join(root, "Dockerfile"), "utf8");

interface Step {
  readonly word: string;
  readonly rest: string;
}
/** Lines that go on are joined, comments left out. */
const steps: readonly Step[] = text
  .replace(/\\\n\s*/g, " ")
  .split("\n")
  .filter((line) => line.trim() !== "" && !line.startsWith("#"))
  .map((line) => ({ word: line.slice(0, line.indexOf(" ")), rest: line.slice(line.indexOf(" ") + 1).trim() }));

const of = (word: string, among = steps): readonly string[] =>
  among.filter((step) => step.word === word).map(({ rest }) => rest);
const lastFrom = steps.findLastIndex(({ word }) => word === "FROM");
const final = steps.slice(lastFrom);
const install = of("RUN").find((step) => step.startsWith("npm ")) ?? "";

describe("the Dockerfile", () => {
  it("S-46 names its base by digest, and refuses one without", () => {
    const [image, ...others] = of("ARG").filter((arg) => arg.includes("="));
    expect(others).toEqual([]);
    const { version } = JSON.parse(readFileSync(join(root, "node_modules/node/package.json"), "utf8")) as {
      version: string;
    };
    expect(image).toMatch(new RegExp(`^NODE_IMAGE=node:${version}-bookworm-slim@sha256:[0-9a-f]{64}$`));
    for (const from of of("FROM")) expect(from).toMatch(/^\$\{NODE_IMAGE\}/);
    expect(of("RUN").some((step) => step.includes("*@sha256:*") && step.includes("exit 1"))).toBe(true);
  });

  it("S-46 installs from the lockfile, without scripts, what the proxy needs", () => {
    expect(install).toBe(
      "npm ci --omit=dev --omit=optional --ignore-scripts --workspace @sallyport/proxy --include-workspace-root=false",
    );
    expect(of("RUN", final).filter((step) => /npm|apt|curl/.test(step))).toEqual([]);
  });

  it("copies the manifest of every workspace, without which the lockfile does not fit", () => {
    const manifests = globSync(["functions/package.json", "packages/*/package.json"], { cwd: root }).sort();
    const copied = of("COPY").flatMap((step) => step.split(" ").filter((part) => part.endsWith("/package.json")));
    expect(copied.sort()).toEqual(manifests);
  });

  it("runs as the user that the task runs it as, with the spool as its one folder to write to", () => {
    expect(of("USER", final)).toEqual([container("production open")["user"]]);
    expect(of("VOLUME", final)).toEqual(['["/spool"]']);
    expect(of("RUN", final)).toEqual(["mkdir /spool && chown node:node /spool && chmod 0700 /spool"]);
    const order = final.map(({ word }) => word);
    // what is done to a folder after it became a volume is lost
    expect(order.indexOf("VOLUME")).toBeGreaterThan(order.indexOf("RUN"));
    expect(order.indexOf("USER")).toBeGreaterThan(order.indexOf("RUN"));
  });

  it("asks after its health as ECS does, and starts node itself, without a shell between it and the signal", () => {
    const [health = ""] = of("HEALTHCHECK", final);
    const { command } = container("production open")["healthCheck"] as { command: readonly string[] };
    const [, words = ""] = /CMD (\[.*\])$/.exec(health) ?? [];
    expect(JSON.parse(words)).toEqual(command.slice(1));
    const [entry = "[]"] = of("ENTRYPOINT", final);
    const [program, ...args] = JSON.parse(entry) as string[];
    expect(program).toBe("node");
    expect(args.at(-1)).toBe("packages/proxy/src/main.ts");
    expect(of("STOPSIGNAL", final)).toEqual(["SIGTERM"]);
    expect(of("CMD", final)).toEqual([]);
  });

  it("S-46 puts no secret into the image", () => {
    expect([...of("ENV"), ...of("ARG")].filter((setting) => /token|secret|password|key/i.test(setting))).toEqual([]);
    const ignored = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
    // everything, but for what is copied
    expect(ignored).toContain("*");
    expect(
      ignored.filter((line) => line.startsWith("!") && !/package(-lock)?\.json$|npmrc$|\/src$/.test(line)),
    ).toEqual([]);
    // without this line SST adds it by itself
    expect(ignored).toContain(".sst");
  });
});

describe("what its steps give", () => {
  let image = "";
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-image-"));
    image = folder;
    for (const step of of("COPY").filter((rest) => !rest.startsWith("--from"))) {
      const parts = step.split(" ");
      const to = parts.at(-1) ?? "";
      for (const from of parts.slice(0, -1)) {
        const target = join(folder, to.endsWith("/") ? join(to, from.slice(from.lastIndexOf("/") + 1)) : to);
        mkdirSync(dirname(target), { recursive: true });
        cpSync(join(root, from), target, { recursive: true, filter: (path) => !path.includes("node_modules") });
      }
    }
    const [program = "", ...args] = install.split(" ");
    await run(program, args, { cwd: folder, timeout: 100_000 });
  }, 120_000);
  afterAll(() => rm(image, { recursive: true, force: true }));

  it("has the proxy's packages and none that only tests, tools or other parts need", () => {
    expect(existsSync(join(image, "node_modules/@aws-sdk/client-dynamodb"))).toBe(true);
    for (const absent of ["typescript", "vitest", "sst", "esbuild", "@sallyport/local", "@middy", "commander", "pg"])
      expect(existsSync(join(image, "node_modules", absent)), absent).toBe(false);
  });

  it("starts far enough to say which settings it misses, and ends", async () => {
    const [entry = "[]"] = of("ENTRYPOINT", final);
    const [, ...args] = JSON.parse(entry) as string[];
    const child = spawn(process.execPath, args, { cwd: image, env: {}, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const status = await new Promise((done) => child.once("close", done));
    expect(status).toBe(1);
    expect(JSON.parse(said.trim().split("\n").at(-1) ?? "")).toMatchObject({
      message: "the proxy can't start",
      failure: expect.stringContaining("SALLYPORT_TABLE"),
    });
  });
});
