// Runs sst.config.ts as the sst program does, offline: `node evaluate.ts <stage> <folder>` with the deployment's settings in the
// environment leaves graph.json there. Bundled by SST's own esbuild, functions really built, Pulumi's engine replaced by
// engine.ts. Exits 1 with the reason when anything fails.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { json } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { type Bundle, banner, bundle, bundling, esbuild, fromPlatform, platform, root } from "./bundle.ts";
import { bootstrap, engine } from "./engine.ts";
import type { Graph, Resource } from "./graph.ts";

interface Pulumi {
  readonly runtime: {
    setMocks(mocks: ReturnType<typeof engine>, project: string, stack: string, preview: boolean): void;
    runInPulumiStack(program: unknown): Promise<unknown>;
    disconnect(): Promise<void>;
  };
}
interface App {
  readonly name: string;
  readonly home: string;
  readonly removal?: string;
  readonly protect?: boolean;
  readonly providers: unknown;
}
interface BuildRequest {
  readonly functionID: string;
  readonly handler: string;
  /** What the stacks say of Node's functions. */
  readonly properties?: { readonly esbuild?: Readonly<Record<string, unknown>> };
}

const [stage, folder] = process.argv.slice(2);
if (stage === undefined || folder === undefined) throw new Error("usage: node evaluate.ts <stage> <folder>");

const bundles: Bundle[] = [];
const failures: string[] = [];

const buildFunction = async ({ functionID, handler, properties }: BuildRequest) => {
  const out = join(folder, functionID);
  bundles.push(await bundle(handler, out, properties?.esbuild));
  return { handler: `bundle.${handler.slice(handler.lastIndexOf(".") + 1)}`, out, errors: [], sourcemaps: [] };
};

const answer = async (method: string, argument: unknown): Promise<unknown> => {
  switch (method) {
    case "Provider.Aws.Bootstrap":
      return { result: bootstrap };
    case "Runtime.AddTarget":
      return { result: {} };
    case "Runtime.Build":
      return { result: await buildFunction(argument as BuildRequest) };
    default:
      throw new Error(`SST calls ${method}, which test/stacks/evaluate.ts does not answer yet`);
  }
};

/** The answer on the wire; a failure is kept too, because SST only prints what it is told of some. */
const reply = async (request: IncomingMessage): Promise<string> => {
  const { method, params } = (await json(request)) as { method: string; params: readonly unknown[] };
  try {
    return JSON.stringify(await answer(method, params[0]));
  } catch (cause) {
    const error = `${method}: ${cause instanceof Error ? cause.message : String(cause)}`;
    failures.push(error);
    return JSON.stringify({ error });
  }
};

/** SST's own server, of which the components ask for builds and the account's bootstrap. */
const listen = async (): Promise<string> => {
  const server = createServer((request, response) => {
    reply(request).then(
      (text) => response.end(text),
      (cause: Error) => response.destroy(cause),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

/** Bundles `contents` beside the platform, where its packages resolve, imports it and gives its default export. */
const load = async (contents: string, options: Record<string, unknown>): Promise<unknown> => {
  const file = join(platform, `evaluate.${process.pid}.${options["define"] ? "run" : "app"}.mjs`);
  try {
    await esbuild.build({
      ...bundling,
      stdin: { contents, resolveDir: root, sourcefile: "evaluate.ts", loader: "ts" },
      outfile: file,
      nodePaths: [join(platform, "node_modules")],
      external: [
        "@pulumi/*",
        "@pulumiverse/*",
        "@sst-provider/*",
        "@aws-sdk/*",
        "undici",
        "esbuild",
        "archiver",
        "glob",
      ],
      banner: { js: banner },
      ...options,
    });
    return (await import(pathToFileURL(file).href)).default;
  } finally {
    rmSync(file, { force: true });
  }
};

/** Gives the stacks their globals, `sst` and `aws`, as the sst program does. */
const globals = {
  name: "globals",
  setup(build: { onLoad(filter: { filter: RegExp }, load: (args: { path: string }) => unknown): void }) {
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      if (!path.startsWith(join(root, "stacks")) && path !== join(root, "sst.config.ts")) return undefined;
      const imports = `import * as sst from "${platform}/src/components/index.ts"; import * as aws from "@pulumi/aws";\n`;
      return { contents: imports + readFileSync(path, "utf8"), loader: "ts", resolveDir: dirname(path) };
    });
  },
};

const evaluate = async (): Promise<Graph> => {
  const server = await listen();
  process.env["SST_SERVER"] = server;
  const config = (await load(
    `globalThis.$config = (config) => config; const { default: config } = await import("${root}/sst.config.ts"); export default config;`,
    {},
  )) as { app(input: { stage: string }): App };
  const app = config.app({ stage });
  const paths = { home: tmpdir(), root, work: join(root, ".sst"), platform };
  const define = {
    $app: JSON.stringify({ removal: "retain", protect: false, ...app, stage }),
    $cli: JSON.stringify({ command: "deploy", rpc: server, paths, home: app.home, state: { version: {} } }),
    $dev: "false",
  };
  const program = await load(
    `import { run } from "${platform}/src/auto/run.ts"; import config from "${root}/sst.config.ts"; export default () => run(config.run);`,
    { define, inject: [join(platform, "src/shim/run.js")], plugins: [globals] },
  );
  const resources: Resource[] = [];
  const { runtime }: Pulumi = fromPlatform("@pulumi/pulumi");
  runtime.setMocks(engine(resources), app.name, stage, false);
  await runtime.runInPulumiStack(program);
  await runtime.disconnect();
  if (failures.length > 0) throw new Error(failures.join("\n"));
  return { app, resources, bundles };
};

writeFileSync(join(folder, "graph.json"), JSON.stringify(await evaluate()));
process.exit();
