// What evaluating sst.config.ts for one stage yields: every resource with the inputs it would be created with.

export interface Resource {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

export interface Graph {
  readonly app: { readonly name: string; readonly removal?: string; readonly protect?: boolean };
  readonly resources: readonly Resource[];
  /** The handlers that were bundled, as the stacks name them. */
  readonly handlers: readonly string[];
}

export const stages = ["dev", "production"] as const;
export type Stage = (typeof stages)[number];
