// Commands that failures and databases suggest can be pasted into a shell, whatever the names in them are.
import { execFileSync } from "node:child_process";
import { hopsOf, openAssumedRoles, sessionName } from "@sallyport/aws/assume";
import { aging, iamOff } from "@sallyport/aws/rds";
import { Failure } from "@sallyport/core/failure";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { accountId, laptop, region } from "./kinds-world.ts";

/** What a shell makes of a command of aws, word by word. */
const wordsOf = (command: string): string[] =>
  execFileSync("/bin/sh", ["-c", `aws() { printf '%s\\0' "$@"; }\n${command}`], { encoding: "utf8", env: {} })
    .split("\0")
    .slice(0, -1);
const nasty = ["$(id)", "`id`", "a; id", "a'b", 'a"b', "%0a", "a b", "--debug", "*", "a\nid", "é"];

describe("S-47 a command that mends a database", () => {
  it.each(nasty)("S-47 holds %j as one word", (identifier) => {
    const off = iamOff("instance", region, identifier, false).replace(/^[^:]*: /, "");
    expect(wordsOf(off)).toContain(identifier);
    expect(wordsOf(off)).toHaveLength(8);
    const aged = aging(region, identifier).replace(/^[^:]*: /, "");
    expect(wordsOf(aged)).toContain(identifier);
    expect(wordsOf(aged)).toHaveLength(9);
  });
});

describe("S-47 a command that tries a role", () => {
  it("S-47 has a session name of harmless letters, whoever it is for", () => {
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...nasty), fc.string({ unit: "binary" })), (user) => {
        expect(sessionName(user)).toMatch(/^[\w+=,.@-]{2,64}$/);
      }),
    );
  });

  it.each(nasty)("S-47 for %j is one command, and never says the external id", async (person) => {
    const roleArn = "arn:aws:iam::444455556666:role/path/reach+x=y,z.@-";
    const roles = openAssumedRoles({ connection: laptop.as("proxy", []), clock: { now: Date.now } });
    const hops = hopsOf({ roleArn, externalId: "a/b:c=d" });
    const failure = await roles.keys({ hops, person, region }).catch((thrown: unknown) => thrown);
    if (!(failure instanceof Failure)) throw new Error("no Failure");
    const [own, trust, attempt] = (failure.hint ?? "").split("\n");
    for (const half of [own, trust]) expect(() => JSON.parse(half?.slice(half.indexOf("{")) ?? "")).not.toThrow();
    const command = attempt?.slice(attempt.indexOf("aws sts")) ?? "";
    expect(attempt).toContain(`try it as arn:aws:iam::${accountId}:user/proxy: `);
    expect(wordsOf(command)).toEqual([
      ...["sts", "assume-role", "--role-arn", roleArn, "--role-session-name", sessionName(person)],
      ...["--region", region, "--external-id", "<external id>"],
    ]);
    expect(failure.hint).not.toContain("a/b:c=d");
  });
});
