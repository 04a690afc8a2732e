// What becomes of a command of a session: it passes, it is answered here, something else goes in its place, or it is refused and
// the session goes on. Whatever changes who the session is, or how its answers are counted, is the proxy's to do.
import { type Access, type Denial, explainDenial } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import { type Command, fits } from "./command.ts";
import { command as encode, errorAnswer, errorLine, simple } from "./message.ts";
import { type Auth, type Hello, parseAuth, parseHello, unnamed, wrongNumber } from "./server.ts";
import { type Expected, nameOf, type State } from "./session.ts";
import { isWord, type Words } from "./word.ts";

/** How a command is to be treated, known by its name alone. */
export type Treatment =
  | "plain"
  | "refused"
  | "script"
  | "auth"
  | "hello"
  | "quit"
  | "reset"
  | "multi"
  | "exec"
  | "discard"
  | "reply"
  | "subscribe"
  | "unsubscribe";
/** A command's name and all that follows from it. */
export interface Known {
  readonly command: Command | undefined;
  readonly treatment: Treatment;
  readonly expected: Expected;
  readonly silent: Expected;
}

const subscribes: ReadonlySet<string> = new Set(["subscribe", "psubscribe", "ssubscribe"]);
const unsubscribes: ReadonlySet<string> = new Set(["unsubscribe", "punsubscribe", "sunsubscribe"]);
const special: ReadonlySet<string> = new Set(["auth", "hello", "quit", "reset", "multi", "exec", "discard"]);
const treatmentOf = (command: Command): Treatment => {
  const { name, rule } = command;
  if (rule === "refused" || rule === "script") return rule;
  if (special.has(name)) return name as Treatment;
  if (name === "client|reply") return "reply";
  if (subscribes.has(name)) return "subscribe";
  return unsubscribes.has(name) ? "unsubscribe" : "plain";
};

const known = new Map<Command, Known>();
const describe = (command: Command | undefined): Known => {
  const name = nameOf(command);
  const treatment = command ? treatmentOf(command) : "plain";
  return { command, treatment, expected: { name }, silent: { name, drop: true } };
};
const unknown = describe(undefined);
export const know = (command: Command | undefined): Known => {
  if (!command) return unknown;
  const found = known.get(command);
  if (found) return found;
  const made = describe(command);
  // what is refused may be made for the occasion
  if (command.rule !== "refused") known.set(command, made);
  return made;
};

export type Ruling =
  | { readonly does: "pass"; readonly expected: Expected }
  /** Answered here; `why`: it was refused. */
  | { readonly does: "say"; readonly answer: Buffer | undefined; readonly why?: string }
  | { readonly does: "instead"; readonly bytes: Buffer; readonly expected: Expected }
  /** Another login, by AUTH or in HELLO: with the client's password, or as the session's user again. */
  | {
      readonly does: "login";
      readonly as: string;
      readonly password: Secret | undefined;
      readonly hello: Hello | undefined;
      /** The client does not want the answer. */
      readonly silent: boolean;
    }
  | { readonly does: "reset" }
  | { readonly does: "quit" };

export interface Judges {
  guard(access: Access): Denial | undefined;
  readonly state: State;
  /** The session's own user. */
  readonly user: string;
}

const say = (answer: Buffer | undefined): Ruling => ({ does: "say", answer });
const refuse = ({ state }: Judges, failure: Failure): Ruling => {
  if (state.multi) state.dirty = true;
  return { does: "say", answer: errorAnswer(failure), why: failure.message };
};

const reasons: Readonly<Record<string, string>> = {
  acl: "users and their rights are changed at AWS, in the user group or access control list of the cache",
  config: "parameters are changed at AWS, in the parameter group of the cache",
  cluster: "the shape of the cluster is changed at AWS",
  monitor: "what is said to the database is in the audit, for those who may read it",
  save: "backups are made at AWS",
  bgsave: "backups are made at AWS",
  shutdown: "a cache is stopped at AWS",
  failover: "a failover is started at AWS",
  "name with a zero byte": "no command has one",
};
const shownName = (name: string): string => name.toUpperCase().replace("|", " ");
const forbidden = (name: string): Failure =>
  new Failure("denied", `${shownName(name)} is not allowed through this proxy`, {
    hint: reasons[name.split("|")[0] ?? ""] ?? "connect as an administrator by another way",
  });
const insideMulti = (name: string): Failure =>
  new Failure("denied", `${shownName(name)} is not allowed inside a transaction`, {
    hint: "say it before MULTI or after EXEC",
  });
const aborted = errorLine("EXECABORT Transaction discarded because of previous errors.");

const passing = (judges: Judges, { expected, silent }: Known): Ruling => ({
  does: "pass",
  expected: takeReply(judges) ? expected : silent,
});
/** Does the client want the answer to this one? SKIP is for one only. */
export const takeReply = ({ state }: Pick<Judges, "state">): boolean => {
  if (state.replies === "on") return true;
  if (state.replies === "skip") state.replies = "on";
  return false;
};
const changing = (judges: Judges, name: string, after: (failed: boolean) => void): Expected => ({
  name,
  after,
  ...(takeReply(judges) ? {} : { drop: true }),
});

const ruleOnReply = (judges: Judges, words: Words): Ruling => {
  const { state } = judges;
  if (words.count !== 3) return say(errorLine(wrongNumber("client|reply")));
  if (isWord(words, 2, "on")) {
    state.replies = "on";
    return say(simple("OK"));
  }
  if (isWord(words, 2, "off")) {
    state.replies = "off";
    return say(undefined);
  }
  if (!isWord(words, 2, "skip")) return say(errorLine("ERR syntax error"));
  if (state.replies === "on") state.replies = "skip";
  return say(undefined);
};

/** A HELLO without a login in it. */
const bareHello = ({ version, name }: Omit<Hello, "auth">): readonly string[] => [
  "HELLO",
  ...(version === undefined ? [] : [String(version)]),
  ...(name === undefined ? [] : ["SETNAME", name]),
];
const greet = (judges: Judges, hello: Hello): Ruling => {
  const after = (failed: boolean): void => {
    if (!failed && hello.version !== undefined) judges.state.version = hello.version;
  };
  return { does: "instead", bytes: encode(...bareHello(hello)), expected: changing(judges, "hello", after) };
};

/** Who wants to be who. The session's own user needs no rule; another one is decided on like a new session. */
const ruleOnLogin = (judges: Judges, auth: Auth, hello: Hello | undefined): Ruling => {
  const { state, user } = judges;
  const as = auth.user === unnamed ? user : auth.user;
  if (as === user && state.as === user) return hello ? greet(judges, hello) : say(simple("OK"));
  if (as === user) return { does: "login", as, password: undefined, hello, silent: !takeReply(judges) };
  const denied = judges.guard({ use: "own_auth" }) ?? judges.guard({ user: as });
  if (!denied) return { does: "login", as, password: secret(auth.password), hello, silent: !takeReply(judges) };
  const failure = new Failure("denied", `this connection is ${JSON.stringify(user)}'s: ${explainDenial(denied)}`, {
    hint: "ask for a token for the other user, or for a role with own_auth",
  });
  return refuse(judges, failure);
};
const ruleOnAuth = (judges: Judges, words: Words): Ruling => {
  const auth = parseAuth(words);
  return auth
    ? ruleOnLogin(judges, auth, undefined)
    : say(errorLine(words.count < 2 ? wrongNumber("auth") : "ERR syntax error"));
};
const ruleOnHello = (judges: Judges, words: Words): Ruling => {
  const hello = parseHello(words);
  if (Buffer.isBuffer(hello)) return say(hello);
  return hello.auth ? ruleOnLogin(judges, hello.auth, hello) : greet(judges, hello);
};

const ruleOnEnd = (judges: Judges, entry: Known): Ruling => {
  const { state } = judges;
  const { dirty } = state;
  state.multi = false;
  state.dirty = false;
  if (!dirty || entry.treatment === "discard") return passing(judges, entry);
  // the server knows nothing of what was refused here
  const said = takeReply(judges) ? { instead: aborted } : {};
  return { does: "instead", bytes: encode("DISCARD"), expected: { name: "exec", drop: true, ...said } };
};
const ruleOnMulti = (judges: Judges, entry: Known): Ruling => {
  const { state } = judges;
  // a MULTI inside is an error that changes nothing
  if (state.multi) return passing(judges, entry);
  state.multi = true;
  const after = (failed: boolean): void => {
    if (failed) state.multi = false;
  };
  return { does: "pass", expected: changing(judges, "multi", after) };
};

/** One confirmation for each channel; all that there are where none is named. */
const confirming = (judges: Judges, { treatment, expected: { name } }: Known, total: number): Ruling => {
  // confirmed it is in any case
  takeReply(judges);
  const left = treatment === "unsubscribe" && total === 1 ? "all" : Math.max(1, total - 1);
  return { does: "pass", expected: { name, confirmed: { word: name, left } } };
};

const inMulti: ReadonlySet<Treatment> = new Set(["auth", "hello", "reply", "subscribe", "unsubscribe"]);
const plainly = (judges: Judges, words: Words, entry: Known, total: number): Ruling => {
  const { treatment, command } = entry;
  switch (treatment) {
    case "auth":
      return ruleOnAuth(judges, words);
    case "hello":
      return ruleOnHello(judges, words);
    case "reply":
      return ruleOnReply(judges, words);
    case "quit":
    case "reset":
      if (command && fits(command, words)) return { does: treatment };
      // with too many arguments it is neither
      if (judges.state.multi) judges.state.dirty = true;
      return say(errorLine(wrongNumber(treatment)));
    case "multi":
    case "exec":
    case "discard":
      // with arguments the server takes it for none of these
      if (!command || !fits(command, words)) return passing(judges, entry);
      return treatment === "multi" ? ruleOnMulti(judges, entry) : ruleOnEnd(judges, entry);
    case "subscribe":
    case "unsubscribe":
      return confirming(judges, entry, total);
    default:
      return passing(judges, entry);
  }
};

/** Rules on a command of `total` arguments, of which `words` are at hand. */
export const ruleOn = (judges: Judges, words: Words, entry: Known, total: number): Ruling => {
  const { state, user, guard } = judges;
  const { treatment, expected } = entry;
  // somebody else's rights may have changed since it logged in
  const other = state.as === user ? undefined : guard({ user: state.as });
  if (other && treatment !== "auth" && treatment !== "quit")
    return refuse(judges, new Failure("denied", explainDenial(other), { hint: "AUTH as the token's own user" }));
  if (treatment === "refused") return refuse(judges, forbidden(expected.name));
  const denied = treatment === "script" ? guard({ use: "script" }) : undefined;
  if (denied)
    return refuse(judges, new Failure("denied", explainDenial(denied), { hint: "ask for a role that allows scripts" }));
  if (state.multi && inMulti.has(treatment)) return refuse(judges, insideMulti(expected.name));
  return plainly(judges, words, entry, total);
};
