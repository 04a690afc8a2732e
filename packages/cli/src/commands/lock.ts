// sally lock: takes access away at once from a user, a role or a database; live sessions end within seconds.
import { randomBytes } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import type { LockTarget } from "@sallyport/core/lock";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { readDuration } from "../option.ts";
import { openApi } from "../profile.ts";
import { note, say, withProgress } from "../terminal.ts";

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

const act = async (context: Context, options: Options): Promise<void> => {
  const target = targetOf(options);
  const name = `lock-${randomBytes(6).toString("hex")}`;
  const expires = options.ttl === undefined ? undefined : new Date(context.clock.now() + options.ttl).toISOString();
  const spec = {
    target,
    ...(options.message === undefined ? {} : { message: options.message }),
    ...(expires === undefined ? {} : { expires }),
  };
  const document = { kind: "lock", version: "v1", metadata: { name }, spec } as const;
  const sent = openApi(context).call("putResource", { kind: "lock", name, document });
  await withProgress(context, "locking", sent);
  const [[what, whom] = ["", ""]] = Object.entries(target);
  say(context, `${what} ${whom} is locked${expires === undefined ? "" : ` until ${expires}`}`);
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
