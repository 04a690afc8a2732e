// Database users that are IAM roles, as the rules see them: a role has two names, and a deny means both.
import { decide, isDenial } from "@sallyport/core/access";
import { reachable } from "@sallyport/core/reach";
import { describe, expect, it } from "vitest";
import { makeAsk, makeDatabase, makeRole, makeSubject, now, rolesOf } from "./make.ts";

const account = "111122223333";
const arn = `arn:aws:iam::${account}:role/Analyst`;
const warehouse = makeDatabase({ kind: "redshift-serverless", name: "sales" });
const rules = (allow: readonly string[], deny: readonly string[] = []) =>
  makeRole("dwh", {
    allow: { db_labels: { "*": "*" }, db_users: allow, db_names: ["*"] },
    ...(deny.length > 0 && { deny: { db_users: deny } }),
  });
const ask = (user: string, allow: readonly string[], deny?: readonly string[], database = warehouse) =>
  decide(makeSubject(["dwh"]), rolesOf(rules(allow, deny)), [], database, makeAsk({ user }), now);

describe("a role's name and its ARN", () => {
  it.each([
    ["Analyst", ["Analyst"]],
    ["Analyst", [arn]],
    [arn, ["Analyst"]],
    [arn, ["*"]],
  ])("%s is allowed by %j", (user, allow) => {
    expect(isDenial(ask(user, allow))).toBe(false);
  });

  it.each([
    ["Analyst", [arn]],
    [arn, ["Analyst"]],
    ["Analyst", ["analyst"]],
    [arn, [arn.toLowerCase()]],
    // a role's name is one of its account, wherever its path leads
    ["team/Analyst", ["Analyst"]],
    [arn.replace("role/", "role/team/"), ["Analyst"]],
    [arn.replace("role/", "role/team/"), [arn]],
    ["Analyst", [arn.replace("role/", "role/team/")]],
  ])("S-05 %s is denied by %j, whichever of them it is and however it is written", (user, deny) => {
    expect(ask(user, ["*"], deny)).toMatchObject({ denied: true, reasons: [{ code: "deny" }] });
    expect(reachable(makeSubject(["dwh"]), rolesOf(rules([user], deny)), [], warehouse, now)).toEqual([]);
  });

  it("are not the same in another account, or for a kind whose users are no roles", () => {
    expect(ask(arn.replace(account, "444455556666"), ["*"])).toMatchObject({ denied: true });
    expect(isDenial(ask(arn, ["Analyst"], [], makeDatabase()))).toBe(true);
    expect(isDenial(ask("Analyst", ["analyst"]))).toBe(true);
    expect(isDenial(ask("Analyst", ["*"], [arn.replace(account, "444455556666")]))).toBe(false);
  });

  it("are allowed as they are written: a path is part of it", () => {
    expect(isDenial(ask("team/Analyst", ["Analyst"]))).toBe(true);
    expect(isDenial(ask("Analyst", ["team/Analyst"]))).toBe(true);
  });

  it.each(["IAM:Analyst", "IAMR:Analyst", "arn:aws-cn:iam::111122223333:role/Analyst", "a b", "x//y"])(
    "%s is no name of a role, whatever is allowed",
    (user) => {
      const denial = ask(user, ["*", user]);
      expect(isDenial(denial) && denial.reasons[0]?.text).toContain("expecting name or ARN of an AWS IAM role");
    },
  );
});
