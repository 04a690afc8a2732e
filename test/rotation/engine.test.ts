// The fake that ten thousand schedules run against does what every kind must do.
import type { ManagedRef } from "@sallyport/core/managed";
import { describeManagedKind } from "../contract/managed-kind.ts";
import { openEngine } from "./engine.ts";
import { openDice, openMachine } from "./machine.ts";

describeManagedKind("the fake", async () => {
  const dice = openDice(1);
  const machine = openMachine(dice, 0, () => {});
  const engine = openEngine(machine, dice, { applied: () => {}, disturbed: () => {} });
  const added = engine.add("app", 3);
  const user: ManagedRef = {
    service: "elasticache",
    arn: "arn:aws:elasticache:eu-west-1:111122223333:user:app",
    account: "111122223333",
    region: "eu-west-1",
    id: "app",
    user: "app",
  };
  return {
    user,
    kind: {
      userState: async ({ id }) => engine.state(id),
      apply: async ({ id }, passwords) =>
        engine.apply(
          id,
          passwords.map((one) => one.reveal()),
        ),
    },
    settle: async () => {
      while (await machine.step(Number.POSITIVE_INFINITY));
    },
    passwords: () => added.nodes[0]?.passwords ?? [],
    remove: () => void engine.users.delete("app"),
    switchToIam: () => {
      added.type = "iam";
    },
  };
});
