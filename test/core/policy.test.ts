// Policy documents: whatever the statements, all parts of a split together grant exactly them, and each fits where AWS wants it.
import { Failure } from "@sallyport/core/failure";
import type { Statement } from "@sallyport/core/permission";
import {
  documentOf,
  literal,
  type PolicyDocument,
  places,
  sizeOf,
  splitPolicy,
  trustDocument,
} from "@sallyport/core/policy";
import { allows } from "@sallyport/local/iam";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** Every single thing that is granted: one action on one resource under one condition. */
const grants = (statements: readonly Statement[]): ReadonlySet<string> =>
  new Set(
    statements.flatMap(({ actions, resources, conditions = {} }) =>
      actions.flatMap((action) => resources.map((resource) => JSON.stringify([action, resource, conditions]))),
    ),
  );
const readBack = (documents: readonly PolicyDocument[]): readonly Statement[] =>
  documents.flatMap(({ Statement }) =>
    Statement.map(({ Action, Resource = [], Condition }) => ({
      actions: Action,
      resources: Resource,
      ...(Condition && { conditions: Condition }),
    })),
  );

const word = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme-ascii" });
const statement: fc.Arbitrary<Statement> = fc
  .record({
    actions: fc.uniqueArray(word, { minLength: 1, maxLength: 6 }),
    resources: fc.uniqueArray(word, { minLength: 1, maxLength: 60 }),
    values: fc.option(fc.uniqueArray(word, { minLength: 1, maxLength: 3 }), { nil: undefined }),
  })
  .map(({ actions, resources, values }) => ({
    actions,
    resources,
    ...(values && { conditions: { StringLike: { "aws:x": values } } }),
  }));

describe("a split policy", () => {
  it("grants exactly what the statements do, in parts that each fit", () => {
    const limits = fc.integer({ min: 500, max: 3_000 });
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 12 }), limits, (statements, limit) => {
        const documents = splitPolicy(statements, limit);
        expect(documents.filter((document) => sizeOf(document) > limit)).toEqual([]);
        expect(grants(readBack(documents))).toEqual(grants(statements));
        // no fuller than it must be: two neighbours would not fit into one
        for (const [at, document] of documents.entries()) {
          const next = documents[at + 1]?.Statement[0];
          if (next) expect(sizeOf({ ...document, Statement: [...document.Statement, next] })).toBeGreaterThan(limit);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("is one document where it fits, and none where there is nothing", () => {
    const one = { actions: ["a:B"], resources: ["*"] };
    expect(splitPolicy([one], places.user.limit)).toEqual([documentOf([one])]);
    expect(splitPolicy([], places.user.limit)).toEqual([]);
  });

  it("that can't be split is refused: a single thing that is too long", () => {
    expect(() => splitPolicy([{ actions: ["a:B"], resources: ["x".repeat(3_000)] }], places.user.limit)).toThrow(
      Failure,
    );
  });

  it("is measured as AWS does: without whitespace", () => {
    const spaced = documentOf([{ actions: ["a:B"], resources: ["a b\tc"] }]);
    expect(sizeOf(spaced)).toBe(JSON.stringify(spaced).replaceAll(" ", "").length);
  });
});

describe("S-47 text in a policy", () => {
  it.each(["*", "reader*", "?", "${aws:username}", "$(id)", '"},{', "a\nb"])(
    "S-47 %j means itself and nothing else",
    (user) => {
      const prefix = "arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-ABC/";
      const document = documentOf([{ actions: ["rds-db:connect"], resources: [`${prefix}${literal(user)}`] }]);
      const [read] = readBack([JSON.parse(JSON.stringify(document)) as PolicyDocument]);
      const may = (name: string) =>
        allows(read ? [read] : [], {
          action: "rds-db:connect",
          resource: `${prefix}${name}`,
          context: { "aws:username": "eve" },
        });
      expect(may(user)).toBe(true);
      for (const other of ["readers", "eve", "x", "reader"].filter((name) => name !== user))
        expect(may(other)).toBe(false);
    },
  );
});

it("a trust policy names who and, where there is one, the external id", () => {
  expect(trustDocument(["arn:aws:iam::111122223333:role/x"], "shop-1").Statement).toEqual([
    {
      Effect: "Allow",
      Principal: { AWS: ["arn:aws:iam::111122223333:role/x"] },
      Action: ["sts:AssumeRole"],
      Condition: { StringEquals: { "sts:ExternalId": ["shop-1"] } },
    },
  ]);
  expect(trustDocument(["x"]).Statement[0]).not.toHaveProperty("Condition");
});
