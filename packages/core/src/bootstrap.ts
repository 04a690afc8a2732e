// The first administrator, and the way back in when nobody can log in any more. Whoever may call this is IAM's matter; here
// it is rate limited and always recorded.
import { changeAccess } from "./epoch.ts";
import { keys, read } from "./family.ts";
import { day, type Invitation, invitation } from "./invite.ts";
import type { Desk } from "./login.ts";
import { takeTurn } from "./throttle.ts";
import { adminRole, User } from "./user.ts";

const throttle = { who: "#bootstrap", most: 5, windowFor: 3_600_000 } as const;

/** Makes the user an administrator, keeping what they have, and invites them. @throws Failure `too_many` */
export const bootstrap = async (
  desk: Desk,
  name: string,
  facts: Readonly<Record<string, unknown>>,
): Promise<Invitation> => {
  const { store, clock } = desk;
  const now = clock.now();
  await takeTurn(store, throttle, now);
  const before = await read(store, User, keys.user(name));
  const next: User = before
    ? {
        ...before,
        roles: [...new Set([...before.roles, adminRole])],
        // an active one stays active: breaking the glass must not lock out whoever is still inside
        state: before.state === "active" ? "active" : "invited",
        revision: before.revision + 1,
      }
    : { name, roles: [adminRole], traits: {}, state: "invited", createdAt: now, createdBy: "bootstrap", revision: 1 };
  const about = { next, before, event: "bootstrap.invite", actor: "bootstrap" } as const;
  const { changes, answer } = invitation(desk, about, day, facts);
  await changeAccess(store, ...changes);
  return answer;
};
