// Bundling as SST does it: its own esbuild, its main fields, minified, one module a function.
// https://github.com/anomalyco/sst pkg/runtime/node/build.go names the options.
import { mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

interface Esbuild {
  build(options: Record<string, unknown>): Promise<{
    readonly metafile?: { readonly outputs: Readonly<Record<string, { readonly exports: readonly string[] }>> };
  }>;
}

export const root = resolve(import.meta.dirname, "../..");
export const platform = join(root, ".sst/platform");
/** Packages as SST's own program sees them. */
export const fromPlatform = createRequire(join(platform, "package.json"));
export const esbuild: Esbuild = fromPlatform("esbuild");

// A bundled CommonJS module still calls require; SST gives its functions and its own program one too.
export const banner = `import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);`;

export const bundling = {
  bundle: true,
  platform: "node",
  format: "esm",
  mainFields: ["module", "main"],
  logLevel: "silent",
};

export interface Bundle {
  readonly handler: string;
  readonly file: string;
  readonly bytes: number;
}

/** Builds one function into `folder`, with what the stacks ask of esbuild, and makes sure that what AWS would call is there. @throws Error */
export const bundle = async (
  handler: string,
  folder: string,
  asked: Readonly<Record<string, unknown>> = {},
): Promise<Bundle> => {
  const dot = handler.lastIndexOf(".");
  const entry = `${handler.slice(0, dot)}.ts`;
  const name = handler.slice(dot + 1);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "bundle.mjs");
  const { metafile } = await esbuild.build({
    ...bundling,
    entryPoints: [join(root, entry)],
    outfile: file,
    banner: { js: banner },
    minify: true,
    keepNames: true,
    ...asked,
    metafile: true,
  });
  const exported = Object.values(metafile?.outputs ?? {}).flatMap((output) => output.exports);
  if (!exported.includes(name)) throw new Error(`${entry} exports no ${name}`);
  return { handler, file, bytes: statSync(file).size };
};
