// How somebody at AWS says of a database user that Sallyport is to keep its password: by a tag on the user itself. Pure.
import type { Labels } from "./label.ts";

/** The first one that is there counts. */
export const managedTags = ["sallyport/managed", "teleport.dev/managed"] as const;
/** Any other value says yes. */
export const unmanagedWords = ["false", "no", "disable", "disabled"] as const;

export const isManaged = (tags: Labels): boolean => {
  const tag = managedTags.find((one) => Object.hasOwn(tags, one));
  if (tag === undefined) return false;
  const said = (tags[tag] ?? "").trim().toLowerCase();
  return !unmanagedWords.some((word) => word === said);
};
