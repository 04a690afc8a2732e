// Database users that are IAM roles (DocumentDB, Redshift Serverless): a role's name, or its ARN in the database's own partition
// and account. The two are interchangeable wherever users are compared. Pure.
import { type Database, kinds } from "./database.ts";

type Home = Pick<Database, "kind" | "partition" | "account">;

/** A role's name, behind the path it may have. */
const rolePattern = /^([\w+=,.@-]+\/)*[\w+=,.@-]{1,64}$/;

const arnOf = ({ partition, account }: Home, name: string): string => `arn:${partition}:iam::${account}:role/${name}`;

/** The role's ARN; undefined for what is no role of the database's own account. */
export const roleArnOf = (home: Home, user: string): string | undefined => {
  const prefix = arnOf(home, "");
  const name = user.startsWith(prefix) ? user.slice(prefix.length) : user;
  return rolePattern.test(name) ? arnOf(home, name) : undefined;
};

/** The name alone, without a path: what AWS's own names for the role inside a database are made of. */
export const roleNameOf = (arn: string): string => arn.slice(arn.lastIndexOf("/") + 1);

/** Why nobody can be this user here; undefined where they may be. */
export const notRole = (home: Home, user: string): string | undefined => {
  if (!kinds[home.kind].userIsRole || user === "" || user === "*" || roleArnOf(home, user) !== undefined)
    return undefined;
  return `expecting name or ARN of an AWS IAM role in account ${home.account}, not ${JSON.stringify(user)}`;
};

/** The same user by either of its names: how users are compared. Where a user is no role, a name is only itself. */
export const canonicalUser = (home: Home, user: string): string =>
  (kinds[home.kind].userIsRole && user !== "*" && roleArnOf(home, user)) || user;
