// The command line as a function: arguments and a context in, an exit status out. Every command is a file of commands/; every
// failure ends here, on stderr, with the status that exit.ts gives it.
import { Command, CommanderError } from "commander";
import { auditShow } from "./commands/audit-show.ts";
import { auditVerify } from "./commands/audit-verify.ts";
import { configurePrintIam } from "./commands/configure-print-iam.ts";
import { create } from "./commands/create.ts";
import { dbConfig } from "./commands/db-config.ts";
import { dbConnect } from "./commands/db-connect.ts";
import { dbEnv } from "./commands/db-env.ts";
import { dbExplain } from "./commands/db-explain.ts";
import { dbLogin } from "./commands/db-login.ts";
import { dbLogout } from "./commands/db-logout.ts";
import { dbLs } from "./commands/db-ls.ts";
import { discover } from "./commands/discover.ts";
import { doctor } from "./commands/doctor.ts";
import { get } from "./commands/get.ts";
import { init } from "./commands/init.ts";
import { lock } from "./commands/lock.ts";
import { login } from "./commands/login.ts";
import { logout } from "./commands/logout.ts";
import { proxyDb } from "./commands/proxy-db.ts";
import { rm } from "./commands/rm.ts";
import { rotate } from "./commands/rotate.ts";
import { run } from "./commands/run.ts";
import { status } from "./commands/status.ts";
import { usersAdd } from "./commands/users-add.ts";
import { usersLs } from "./commands/users-ls.ts";
import { usersReset } from "./commands/users-reset.ts";
import { usersRm } from "./commands/users-rm.ts";
import type { Context } from "./context.ts";
import { exitStatus, usageStatus } from "./exit.ts";
import { colour, note, reportFailure } from "./terminal.ts";

const version = "0.1.0";

type Register = (program: Command, context: Context) => void;
interface Group {
  readonly name: string;
  readonly description: string;
  readonly commands: readonly Register[];
}

const groups: readonly (Register | Group)[] = [
  init,
  login,
  status,
  logout,
  {
    name: "db",
    description: "databases you may reach",
    commands: [dbLs, dbConnect, dbLogin, dbEnv, dbConfig, dbLogout, dbExplain],
  },
  { name: "proxy", description: "tunnels for programs of your own", commands: [proxyDb] },
  run,
  {
    name: "users",
    description: "people and programs (administrators)",
    commands: [usersAdd, usersLs, usersReset, usersRm],
  },
  {
    name: "audit",
    description: "what was recorded, and whether all of it is there (auditors)",
    commands: [auditVerify, auditShow],
  },
  create,
  get,
  rm,
  lock,
  discover,
  rotate,
  doctor,
  {
    name: "configure",
    description: "what has to be set up around Sallyport",
    commands: [
      (configure, context) =>
        configurePrintIam(configure.command("aws").description("what has to be set up at AWS"), context),
    ],
  },
];

const makeProgram = (context: Context): Command => {
  const program = new Command("sally")
    .description("Short-lived, role-checked, audited access to databases.")
    .version(version)
    .exitOverride()
    // so that what follows `--` in `sally run` reaches it untouched
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      outputError: (text, write) =>
        write(text.replace(/^error:/, colour(context, context.stderr, ["bold", "red"], "error:"))),
      getOutHelpWidth: () => context.stdout.columns || 80,
      getErrHelpWidth: () => context.stderr.columns || 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  for (const entry of groups) {
    if (typeof entry === "function") entry(program, context);
    else {
      const group = program.command(entry.name).description(entry.description);
      for (const register of entry.commands) register(group, context);
    }
  }
  return program;
};

/** The command that the arguments name, for the hint of a usage error. */
const namedCommand = (program: Command, args: readonly string[]): string => {
  const [word, ...rest] = args;
  const found = program.commands.find((command) => command.name() === word);
  return found ? `${program.name()} ${namedCommand(found, rest)}` : program.name();
};

/** Runs one command line. Never rejects. */
export const runSally = async (args: readonly string[], world: Omit<Context, "exit">): Promise<number> => {
  let passedOn = 0;
  const context: Context = {
    ...world,
    exit: (code) => {
      passedOn = code;
    },
  };
  const program = makeProgram(context);
  try {
    await program.parseAsync(args, { from: "user" });
    return passedOn;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) {
      if (context.env["SALLYPORT_DEBUG"] && thrown instanceof Error) note(context, `${thrown.stack}`);
      return exitStatus[reportFailure(context, thrown).code];
    }
    // help and version end the parse in the same way
    if (thrown.exitCode === 0) return 0;
    if (thrown.code !== "commander.help")
      note(
        context,
        `${colour(context, context.stderr, "cyan", "hint:")} ${namedCommand(program, args)} --help says how`,
      );
    return usageStatus;
  }
};
