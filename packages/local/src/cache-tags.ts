// Tags of the resources of ElastiCache and MemoryDB, which both APIs read and write by ARN and IAM conditions look at.

import { invalidValue } from "./cache-change.ts";
import type { Tags } from "./cache-user.ts";
import type { CacheUsers } from "./cache-users.ts";
import type { Context, Need } from "./iam.ts";
import { Refusal } from "./refusal.ts";

export interface Tag {
  Key?: string | undefined;
  Value?: string | undefined;
}

const quota = 50;

export const tagList = (tags: Tags): Tag[] => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** Tags as a request gives them; a value that is not said is empty. */
export function tagsOf(given: readonly Tag[] = []): Tags {
  for (const { Key = "", Value = "" } of given) {
    if (Key.length < 1 || Key.length > 128 || Key.startsWith("aws:")) throw invalidValue(`Invalid tag key: ${Key}`);
    if (Value.length > 256) throw invalidValue(`Invalid value of tag ${Key}`);
  }
  return Object.fromEntries(given.map(({ Key = "", Value = "" }) => [Key, Value]));
}

export function addTags(users: CacheUsers, arn: string, given: readonly Tag[] | undefined): { TagList: Tag[] } {
  const all = { ...users.tags(arn), ...tagsOf(given) };
  if (Object.keys(all).length > quota)
    throw new Refusal("TagQuotaPerResourceExceeded", `A resource can have at most ${quota} tags.`, 400);
  users.setTags(arn, all);
  return { TagList: tagList(all) };
}

export function removeTags(users: CacheUsers, arn: string, keys: readonly string[] = []): { TagList: Tag[] } {
  const tags = users.tags(arn);
  const missing = keys.find((key) => !Object.hasOwn(tags, key));
  if (missing !== undefined) throw new Refusal("TagNotFoundFault", `Tag ${missing} not found on ${arn}.`, 404);
  const left = Object.fromEntries(Object.entries(tags).filter(([key]) => !keys.includes(key)));
  users.setTags(arn, left);
  return { TagList: tagList(left) };
}

/** A permission on a resource, with its tags as conditions see them. */
export const needOn = (users: CacheUsers, action: string, resource: string, context: Context = {}): Need => ({
  action,
  resource,
  context: {
    ...Object.fromEntries(
      Object.entries(users.tags(resource)).map(([key, value]) => [`aws:ResourceTag/${key}`, value]),
    ),
    ...context,
  },
});

export const requestTags = (given: readonly Tag[] | undefined): Context => ({
  "aws:TagKeys": given?.map(({ Key = "" }) => Key),
  ...Object.fromEntries((given ?? []).map(({ Key = "", Value = "" }) => [`aws:RequestTag/${Key}`, Value])),
});
