// What a request makes of a user of ElastiCache or MemoryDB. Rule: what AWS refuses is refused: two passwords at most, of 16 to 128
// characters, and one way of saying them; a change replaces the whole list.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html
import { type Secret, secret } from "@sallyport/core/secret";
import type { AuthenticationType, CacheUser, UserChange } from "./cache-user.ts";
import { Refusal } from "./refusal.ts";

/** The members that both APIs have, and ElastiCache's older ones. */
export interface UserInput {
  readonly AuthenticationMode?:
    | { readonly Type?: string | undefined; readonly Passwords?: readonly string[] | undefined }
    | undefined;
  readonly Passwords?: readonly string[] | undefined;
  readonly NoPasswordRequired?: boolean | undefined;
  readonly AccessString?: string | undefined;
  readonly AppendAccessString?: string | undefined;
  readonly Engine?: string | undefined;
}

export type UserNow = Pick<CacheUser, "id" | "name" | "accessString"> & { readonly type?: AuthenticationType };

export const invalidValue = (message: string): Refusal => new Refusal("InvalidParameterValueException", message, 400);
export const contradiction = (message: string): Refusal =>
  new Refusal("InvalidParameterCombinationException", message, 400);

/** @throws Refusal unless it is active and not the account's own */
export const requireChangeable = ({ id }: UserNow, status: string): void => {
  if (status !== "active")
    throw new Refusal(
      "InvalidUserStateFault",
      `User ${id} has status ${status}. Only active users can be modified.`,
      400,
    );
  if (id === "default") throw invalidValue("The default user can't be modified or deleted.");
};

const types: Readonly<Record<string, AuthenticationType>> = {
  password: "password",
  iam: "iam",
  "no-password-required": "no-password",
};

export function changeOf(input: UserInput, user: UserNow): UserChange {
  const change = {
    ...authentication(input, user),
    ...accessString(input, user),
    ...(input.Engine !== undefined && { engine: engineOf(input.Engine) }),
  };
  if (Object.keys(change).length === 0) throw contradiction("No modifications were requested.");
  return change;
}

function authentication(input: UserInput, user: UserNow): UserChange {
  const { AuthenticationMode: mode, Passwords: passwords, NoPasswordRequired: none } = input;
  if (mode && (passwords || none !== undefined))
    throw contradiction("Passwords and NoPasswordRequired can't be used together with AuthenticationMode.");
  if (passwords && none) throw contradiction("Passwords can't be given when no password is required.");
  if (mode) return modeOf(mode, user);
  if (none) return { type: "no-password", passwords: [] };
  if (!passwords) return {};
  if (user.type === "iam") throw contradiction(`User ${user.id} authenticates with IAM and takes no passwords.`);
  return { type: "password", passwords: passwordsOf(passwords) };
}

function modeOf(mode: NonNullable<UserInput["AuthenticationMode"]>, user: UserNow): UserChange {
  const type = mode.Type === undefined || !Object.hasOwn(types, mode.Type) ? undefined : types[mode.Type];
  if (type === undefined) throw invalidValue(`Invalid authentication type: ${mode.Type}`);
  if (type === "password") return { type, passwords: passwordsOf(mode.Passwords ?? []) };
  if (mode.Passwords) throw contradiction(`Passwords can't be used with authentication type ${mode.Type}.`);
  if (type === "iam" && user.name !== user.id)
    throw invalidValue("A user that authenticates with IAM must have the same user name and user id.");
  return { type, passwords: [] };
}

function passwordsOf(passwords: readonly string[]): readonly Secret[] {
  if (passwords.length < 1 || passwords.length > 2) throw invalidValue("A user must have one or two passwords.");
  if (!passwords.every((password) => /^[\x21-\x7e]{16,128}$/.test(password)))
    throw invalidValue("Passwords must be 16 to 128 printable characters long.");
  if (new Set(passwords).size !== passwords.length) throw invalidValue("Passwords must differ from each other.");
  return passwords.map(secret);
}

function accessString({ AccessString: whole, AppendAccessString: more }: UserInput, user: UserNow): UserChange {
  if (whole !== undefined && more !== undefined)
    throw contradiction("AccessString and AppendAccessString can't be used together.");
  if (whole === undefined && more === undefined) return {};
  const rules = whole ?? `${user.accessString} ${more}`;
  // a password is never said here: the list of passwords would not know of it
  if (!/^(?:on|off)(?:\s|$)/.test(rules) || /(?:^|\s)(?:[><#!]|nopass|resetpass|reset(?:\s|$))/i.test(rules))
    throw invalidValue("Invalid access string.");
  return { accessString: rules };
}

export function engineOf(engine: string): CacheUser["engine"] {
  const known = engine.toLowerCase();
  if (known !== "redis" && known !== "valkey") throw invalidValue(`Unsupported engine: ${engine}`);
  return known;
}
