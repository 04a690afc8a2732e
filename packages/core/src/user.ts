// A person or program that logs in. What they hold is roles and traits; what they know (password, codes) is in another
// family of the table that only the API reads.
import * as z from "zod";
import { Name } from "./name.ts";

export const Traits = z.record(z.string().min(1).max(64), z.array(z.string().max(255)).max(64));
export type Traits = z.infer<typeof Traits>;

export const User = z.object({
  name: Name,
  roles: z.array(Name).max(64),
  traits: Traits.default({}),
  /** `invited` until a password is set; `disabled` is denied everything. */
  state: z.enum(["invited", "active", "disabled"]),
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});
export type User = z.infer<typeof User>;

/** The built-in role that may manage resources; it reaches no database by itself. */
export const adminRole = "admin";
