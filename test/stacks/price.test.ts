// docs/cost.md is reckoned from the evaluated stacks; `npx vitest run test/stacks/price.test.ts -u` writes it anew.
import { describe, expect, it } from "vitest";
import { type Graph, graph, names, plain } from "./graph.ts";
import { contradictions, type Line, managedUser, price, use } from "./price.ts";
import { pricedOn, region } from "./prices.ts";

const sum = (lines: readonly Line[]): number => lines.reduce((total, line) => total + line.price, 0);
const dollars = (amount: number): string => amount.toFixed(2);

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map((_, at) => (at === 0 ? "---" : "--:")), ...rows]
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n");

/** One row for each thing that any of the shapes pays for, one column for each shape. */
const compare = (shapes: readonly string[], linesOf: (name: string) => readonly Line[]): string => {
  const whats = [...new Set(shapes.flatMap((name) => linesOf(name).map(({ what }) => what)))].sort();
  const cell = (name: string, what: string): string => {
    const line = linesOf(name).find((one) => one.what === what);
    if (!line) return "–";
    return line.count > 1 ? `${dollars(line.price)} (${line.count})` : dollars(line.price);
  };
  const rows = whats.map((what) => [what, ...shapes.map((name) => cell(name, what))]);
  const total = ["**together**", ...shapes.map((name) => `**${dollars(sum(linesOf(name)))}**`)];
  return table(["US dollars a month", ...shapes.map((name) => name.split(" ").at(-1) ?? "")], [...rows, total]);
};

const shapesOf = (stage: string): readonly string[] =>
  plain.filter((one) => one.stage === stage).map(({ name }) => name);
const chapter = (stage: string): string => {
  const shapes = shapesOf(stage);
  const whole = (name: string): number => sum(price(graph(name)).standing) + sum(price(graph(name)).use);
  return `## ${stage}

To be there:

${compare(shapes, (name) => price(graph(name)).standing)}

By a small team's use:

${compare(shapes, (name) => price(graph(name)).use)}

Both: ${shapes.map((name) => `${name.split(" ").at(-1)} **${dollars(whole(name))}**`).join(", ")}.
`;
};

const document = (): string => `# What it costs

Reckoned by \`test/stacks/price.ts\` from the evaluated stacks and the price list in \`test/stacks/prices.ts\`: ${region}, ${pricedOn}, US dollars
a month of 730 hours, without tax, free tiers and discounts. A test fails when this page is not what comes out. It is a reckoning, not a
bill: the stacks have not yet been run on live AWS, and prices change.

Numbers in brackets are how many there are. \`bring\` is reckoned with an internal load balancer; the network that was brought, and a NAT that its
proxies may need, are paid for already. \`private\` with a transit gateway has its attachment (36.50) in place of the interface endpoints.

A small team's month: ${use.sessions.toLocaleString("en")} sessions, ${use.apiCalls.toLocaleString("en")} API calls, ${use.relayedGigabytes} GB carried, ${use.statementsGigabytes} GB of statements.
Not in it: data transfer out of AWS and between zones, the databases themselves, and proxies beyond the least number; each of those costs
what one task does, and in \`open\` its address. Each managed user, whose password rotates every 15 minutes, adds ${dollars(managedUser())}: its secret, and what is
asked of it. The audit grows by what is written until its retention ends.

${chapter("dev")}
${chapter("production")}`;

describe.each(names)("%s", (name) => {
  it("has nothing in it that is neither priced nor known to be free", () => {
    expect(() => price(graph(name))).not.toThrow();
    expect(sum(price(graph(name)).standing)).toBeGreaterThan(0);
  });
});

it("prices nothing that it calls free", () => {
  expect(contradictions()).toEqual([]);
});

it("stops at a resource that nobody has thought of", () => {
  const nat = { type: "aws:ec2/natGateway:NatGateway", name: "Nat", inputs: {} };
  const open = graph("dev open");
  const more: Graph = { ...open, resources: [...open.resources, nat] };
  expect(() => price(more)).toThrow("neither priced nor free: aws:ec2/natGateway:NatGateway");
});

it("reckons a task by hand alike", () => {
  const line = price(graph("production open")).standing.find(({ what }) => what.startsWith("Fargate"));
  // 2 tasks × 730 h × (0.5 × 0.03238 + 1 × 0.00356)
  expect(line?.count).toBe(2);
  expect(line?.price).toBeCloseTo(2 * 730 * (0.01619 + 0.00356), 6);
});

it("is what docs/cost.md says", async () => {
  await expect(document()).toMatchFileSnapshot("../../docs/cost.md");
});
