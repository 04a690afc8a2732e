// Discovery: what a discovery_config asks for, and what must be written and removed after a listing. Names and labels are
// made here, so that every kind makes them alike.
import * as z from "zod";
import { type KindName, kindNames, kinds } from "./database.ts";

const matchers = [...new Set(kindNames.map((kind) => kinds[kind].matcher))];
const TagSelector = z
  .record(z.string().min(1).max(128), z.union([z.string(), z.array(z.string())]))
  .transform((tags) =>
    Object.fromEntries(Object.entries(tags).map(([key, value]) => [key, typeof value === "string" ? [value] : value])),
  );

export const Matcher = z.strictObject({
  types: z.array(z.enum(matchers)).min(1),
  regions: z.array(z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/)).min(1),
  tags: TagSelector.default({ "*": ["*"] }),
  assume_role_arn: z
    .string()
    .regex(/^arn:[a-z-]+:iam::\d{12}:role\/[\w+=,.@/-]+$/)
    .optional(),
  external_id: z.string().min(2).max(1224).optional(),
});
export type Matcher = z.infer<typeof Matcher>;

export const DiscoveryConfigSpec = z.strictObject({ aws: z.array(Matcher).min(1).max(100) });
export const DiscoveryConfig = z.object({
  name: z.string(),
  spec: DiscoveryConfigSpec,
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});
export type DiscoveryConfig = z.infer<typeof DiscoveryConfig>;

/** The kinds a matcher type stands for. */
export const kindsOf = (type: string): readonly KindName[] => kindNames.filter((kind) => kinds[kind].matcher === type);
