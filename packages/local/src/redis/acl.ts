// Users as the real server knows them, made of the emulated ones: their passwords, their access string, and behind it what the
// services let nobody do. A user who must show an IAM token has one password, the front's.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ClientConfig.RestrictedCommands.html
import type { Secret } from "@sallyport/core/secret";
import type { CacheUser } from "../cache-user.ts";
import { sha256, superuser } from "./node.ts";

/** What ElastiCache and MemoryDB restrict. The server answers with NOPERM, where theirs also say that there is no such command. */
const restricted = [
  ...["acl|deluser", "acl|load", "acl|save", "acl|setuser", "bgrewriteaof", "bgsave", "config", "debug", "failover"],
  ...["migrate", "module", "psync", "replconf", "replicaof", "save", "shutdown", "slaveof", "sync"],
  ...["addslots", "addslotsrange", "bumpepoch", "count-failure-reports", "delslots", "delslotsrange", "failover"]
    .concat(["flushslots", "forget", "meet", "replicate", "reset", "saveconfig", "set-config-epoch", "setslot"])
    .map((name) => `cluster|${name}`),
].map((name) => `-${name}`);

/** Rules of an access string that would say who may log in, which is not its to say. */
const notRights = /^([><#!]|nopass$|resetpass$|reset$)/i;

/** The rules of an access string: a selector in parentheses is one. @throws Error for one that reaches beyond rights */
const rulesOf = (accessString: string): readonly string[] => {
  const rules = accessString.match(/\([^)]*\)|\S+/g) ?? [];
  const wrong = rules.find((rule) => notRights.test(rule));
  if (wrong !== undefined) throw new Error(`an access string can't say ${wrong.slice(0, 1)}…`);
  return [
    ...rules.map((rule) => (rule.startsWith("(") ? `${rule.slice(0, -1)} ${restricted.join(" ")})` : rule)),
    ...restricted,
  ];
};

/** The words of the ACL SETUSER that makes this user, whatever it was before. @throws Error for what no user may be */
export const userWords = (user: CacheUser, frontPassword: Secret): readonly string[] => {
  if (user.name === superuser) throw new Error(`${superuser} is the account's own`);
  const passwords = user.type === "iam" ? [frontPassword] : user.type === "password" ? user.passwords : [];
  return [
    ...["ACL", "SETUSER", user.name, "reset", ...rulesOf(user.accessString)],
    ...(user.type === "no-password" ? ["nopass"] : passwords.map((password) => `#${sha256(password.reveal())}`)),
  ];
};

/** What takes away everybody who is none of these: their sessions end. The default user can't be deleted, so it can't log in. */
export const withoutOthers = (
  known: readonly string[],
  users: readonly CacheUser[],
): readonly (readonly string[])[] => {
  const stay = new Set([superuser, ...users.map(({ name }) => name)]);
  const others = known.filter((name) => !stay.has(name));
  const deleted = others.filter((name) => name !== "default");
  return [
    ...(others.includes("default") ? [["ACL", "SETUSER", "default", "reset"]] : []),
    ...(deleted.length > 0 ? [["ACL", "DELUSER", ...deleted]] : []),
  ];
};
