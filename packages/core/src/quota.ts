// How often somebody who is let in may do what costs: log in, ask for tokens, start discovery, have a database looked at. Far
// beyond what people and their pools do; what it stops is a script gone wrong and a bill.
import type { Throttle } from "./throttle.ts";

const quarter = 15 * 60_000;

/** Successful logins; each makes a session that is kept until it ends. */
export const loginsOf = (user: string): Throttle => ({ who: `#logins#${user}`, most: 100, windowFor: quarter });

/** Connect tokens asked for, whether or not they are given: a refusal is written too. */
export const tokensOf = (user: string): Throttle => ({ who: `#tokens#${user}`, most: 2_000, windowFor: quarter });

/** Runs of discovery by hand, of everybody together: each asks AWS for every listing, and AWS's patience is the account's. */
export const discoveries: Throttle = { who: "#discover", most: 60, windowFor: quarter };

/** Rotations by hand, of everybody together: what each user may cost in a day is counted with it. */
export const rotations: Throttle = { who: "#rotate", most: 120, windowFor: quarter };

/** Looks at databases, of everybody together: each starts a function that logs in. */
export const examinations: Throttle = { who: "#doctor", most: 120, windowFor: quarter };
