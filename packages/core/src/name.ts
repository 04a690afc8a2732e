// Names that people and files give to things. Plain ASCII, so that two names which look alike are alike: no case folding,
// no Unicode, no dots at the ends, no separators (S-06).
import * as z from "zod";

const pattern = /^[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,126}[A-Za-z0-9])?$/;
const reserved = new Set(["__proto__", "constructor", "prototype"]);

/** A user, role, lock, database or discovery_config name: 1 to 128 characters. */
export const Name = z
  .string()
  .regex(pattern, "a name is 1 to 128 of A–Z a–z 0–9 . _ @ + - and begins and ends with a letter or digit")
  .refine((name) => !reserved.has(name) && !name.includes(".."), "this name is reserved");

/** A database user or database name as a wire protocol carries it: any text without NUL, up to 255 characters. */
export const WireName = z
  .string()
  .min(1)
  .max(255)
  .refine((name) => !name.includes("\0"), "must not contain NUL");

/** An AWS region: eu-west-1, us-gov-east-1, eusc-de-east-1. */
export const Region = z.string().regex(/^[a-z]{2,4}(-[a-z]+)+-\d$/, "a region such as eu-west-1");
