// Who is logged in where: one profile per server, one of them current. A profile holds the login's token, so it is
// private, and it is read afresh whenever a token is needed: logging in again mends a tunnel that is already running.
import { type Client, openClient } from "@sallyport/client/client";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import * as z from "zod";
import type { Context } from "./context.ts";
import { type Drawer, openDrawer } from "./folder.ts";

export interface Profile {
  readonly server: string;
  readonly user: string;
  readonly token: Secret;
  readonly expiresAt: number;
}
const Profile = z.object({
  server: z.string(),
  user: z.string(),
  token: z.string().transform(secret),
  expiresAt: z.number(),
});

const Current = z.object({ server: z.string() });
const currentKey = "current";

export interface Profiles extends Pick<Drawer<Profile>, "get" | "list"> {
  /** The one that commands speak for, expired or not. */
  current(): Profile | undefined;
  /** Saves it and makes it the current one. */
  save(profile: Profile): void;
  forget(server: string): void;
}

export const openProfiles = (context: Pick<Context, "configDir">): Profiles => {
  const drawer = openDrawer<Profile>(context.configDir, "profiles", Profile, (profile) => ({
    ...profile,
    token: profile.token.reveal(),
  }));
  const pointer = openDrawer(context.configDir, "settings", Current, (current) => current);
  return {
    get: drawer.get,
    list: drawer.list,
    current: () => {
      const server = pointer.get(currentKey)?.server;
      return server === undefined ? undefined : drawer.get(server);
    },
    save: (profile) => {
      drawer.put(profile.server, profile);
      pointer.put(currentKey, { server: profile.server });
    },
    forget: (server) => {
      drawer.remove(server);
      if (pointer.get(currentKey)?.server === server) pointer.remove(currentKey);
    },
  };
};

/** The current login. @throws Failure `not_logged_in` */
export const requireProfile = (context: Context): Profile => {
  const profile = openProfiles(context).current();
  if (!profile)
    throw new Failure("not_logged_in", "you are not logged in", { hint: "sally login --server URL --user NAME" });
  if (profile.expiresAt <= context.clock.now())
    throw new Failure("not_logged_in", `your login to ${profile.server} has expired`, { hint: "sally login" });
  return profile;
};

/** The API as the current login. @throws Failure `not_logged_in` */
export const openApi = (context: Context): Client => {
  const { server, token } = requireProfile(context);
  return openClient({ api: server, token, fetch: context.fetch });
};
