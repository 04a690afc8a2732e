// What every benchmark of one protocol is told on its command line.
import { resolve } from "node:path";
import { parseArgs } from "node:util";

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  /** Cells whose name matches. */
  readonly only: RegExp;
  /** All of them: what is measured may go into the document. */
  readonly whole: boolean;
  /** The folder for our process's CPU profile. */
  readonly profile?: string;
}

export const readOptions = (usual: { readonly seconds: number }): Options => {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: String(usual.seconds) },
      only: { type: "string", default: "" },
      profile: { type: "string" },
    },
  });
  return {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    only: new RegExp(values.only, "i"),
    whole: values.only === "",
    ...(values.profile !== undefined && { profile: resolve(values.profile) }),
  };
};

export const document = resolve(import.meta.dirname, "../../docs/benchmarks.md");
