// sally lock: takes access away at once from a user, a role or a database; live sessions end within seconds. What is to be
// locked is looked up first: a lock on a misspelt or shortened name would be stored and take nothing away.
import { randomBytes } from "node:crypto";
import type { Client } from "@sallyport/client/client";
import { isShort } from "@sallyport/core/ask";
import { Failure } from "@sallyport/core/failure";
import type { LockTarget } from "@sallyport/core/lock";
import { adminRole } from "@sallyport/core/user";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { readDuration } from "../option.ts";
import { openApi } from "../profile.ts";
import { note, say, withProgress } from "../terminal.ts";
import { describeExpiry } from "../when.ts";

interface Options {
  readonly user?: string;
  readonly role?: string;
  readonly db?: string;
  readonly ttl?: number;
  readonly message?: string;
}

const targetOf = ({ user, role, db }: Options): LockTarget => {
  const targets: readonly LockTarget[] = [
    ...(user === undefined ? [] : [{ user }]),
    ...(role === undefined ? [] : [{ role }]),
    ...(db === undefined ? [] : [{ database: db }]),
  ];
  const [target] = targets;
  if (!target || targets.length > 1)
    throw new Failure("invalid", "a lock is on one thing", { hint: "give one of --user, --role, --db" });
  return target;
};

/** The whole name of a database that may be given by its short one. @throws Failure `not_found`, `invalid` */
const findName = async (api: Client, text: string): Promise<string> => {
  const { resources } = await api.call("listResources", { kind: "db" });
  const known = resources.flatMap(({ kind, metadata: { name }, spec }) => (kind === "db" ? [{ ...spec, name }] : []));
  if (known.some(({ name }) => name === text)) return text;
  const [found, ...others] = known.filter((database) => isShort(text, database));
  if (!found) throw new Failure("not_found", `there is no database ${text}`, { hint: "sally get db" });
  if (others.length > 0)
    throw new Failure("invalid", `${text} stands for several databases`, {
      hint: `name one of ${[found, ...others].map(({ name }) => name).join(", ")}`,
    });
  return found.name;
};

/** The target by its whole name. @throws Failure `not_found` when there is no such thing */
const find = async (api: Client, target: LockTarget): Promise<LockTarget> => {
  if ("database" in target) return { database: await findName(api, target.database) };
  if ("user" in target) await api.call("getResource", { kind: "user", name: target.user });
  // the built-in role has no document; the server says why it can't be locked
  if ("role" in target && target.role !== adminRole) await api.call("getResource", { kind: "role", name: target.role });
  return target;
};

const act = async (context: Context, options: Options): Promise<void> => {
  const wanted = targetOf(options);
  const api = openApi(context);
  const target = await withProgress(context, "looking it up", find(api, wanted));
  const name = `lock-${randomBytes(6).toString("hex")}`;
  const now = context.clock.now();
  const expiresAt = options.ttl === undefined ? undefined : now + options.ttl;
  const spec = {
    target,
    ...(options.message === undefined ? {} : { message: options.message }),
    ...(expiresAt === undefined ? {} : { expires: new Date(expiresAt).toISOString() }),
  };
  const document = { kind: "lock", version: "v1", metadata: { name }, spec } as const;
  await withProgress(context, "locking", api.call("putResource", { kind: "lock", name, document }));
  const [[what, whom] = ["", ""]] = Object.entries(target);
  say(context, `${what} ${whom} is locked${expiresAt === undefined ? "" : ` until ${describeExpiry(expiresAt, now)}`}`);
  note(context, `to unlock: sally rm lock/${name}`);
};

export const lock = (program: Command, context: Context): void => {
  program
    .command("lock")
    .description("take access away at once")
    .option("--user <user>", "from a user")
    .option("--role <role>", "from everybody who holds a role")
    .option("--db <database>", "from everybody, to a database")
    .option("--ttl <duration>", "for how long, such as 1h; for good when left out", readDuration)
    .option("--message <text>", "what those who are locked out are told")
    .action((options: Options) => act(context, options));
};
