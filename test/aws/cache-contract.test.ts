// The kinds of caches on the laptop account do what rotation relies on, with no more than rotation's permissions.
import { secret } from "@sallyport/core/secret";
import { describeManagedKind } from "../contract/managed-kind.ts";
import { addCache, addUsers, cacheKinds, open, pass, place, serviceOf, userArn, users } from "./cache-world.ts";
import { accountId, region } from "./kinds-world.ts";

for (const name of cacheKinds)
  describeManagedKind(name, async () => {
    users.takes(60_000);
    addUsers(name, "people", {
      id: "app",
      type: "password",
      passwords: [secret("made-by-hand-in-the-beginning")],
      tags: { "sallyport/managed": "true" },
    });
    addCache(name, "orders", "people");
    const { userState, apply } = open(name, "rotate");
    if (!userState || !apply) throw new Error(`${name} has no managed users`);
    return {
      kind: { userState, apply },
      user: { service: serviceOf(name), arn: userArn(name, "app"), account: accountId, region, id: "app", user: "app" },
      settle: async () => {
        pass(120_000);
        await users.settled();
      },
      passwords: () => users.user(place(name), "app")?.passwords.map((one) => one.reveal()) ?? [],
      remove: () => users.removeUser(place(name), "app"),
      switchToIam: () => void users.changeUser(place(name), "app", { type: "iam", passwords: [] }),
    };
  });
