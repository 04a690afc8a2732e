// The functions: that each is built, small and quick to begin, and runs as the stacks say it does.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, inject, it } from "vitest";
import { banner, bundling, esbuild, root } from "./bundle.ts";
import { all, chosen, functionsOf, graph, logical, names, one, stageOf } from "./graph.ts";

const run = promisify(execFile);
const mostBytes = 900_000;
const mostMs = 120;
/** What the yardstick takes on the machine that the limit was set on; a slower or busier one has that much more time. */
const yardstickMs = 55;
/** What others take of the processor only ever adds: the least of some tries is the nearest to the truth. */
const tries = 15;

/** Milliseconds that the one thread of a fresh process computes to import the bundle. */
const begin = async (file: string): Promise<number> => {
  const program = `const before = process.threadCpuUsage();
    await import(process.argv[1]);
    const { user, system } = process.threadCpuUsage(before);
    console.log((user + system) / 1000);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program, file]);
  return Number(stdout);
};

/** One client of AWS's SDK, bundled as the functions are. */
const yardstick = async (folder: string): Promise<string> => {
  const contents = `export { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";`;
  const file = join(folder, "yardstick.mjs");
  const stdin = { contents, resolveDir: join(root, "packages/aws") };
  await esbuild.build({ ...bundling, stdin, outfile: file, banner: { js: banner }, minify: true, keepNames: true });
  return file;
};

describe.each(names)("%s", (name) => {
  it("builds the handler of every function, and no other", () => {
    const handlers = functionsOf(name).map((one) => `functions/${one}.handler`);
    expect(
      graph(name)
        .bundles.map(({ handler }) => handler)
        .sort(),
    ).toEqual(handlers);
  });

  it("runs each on Node 24 and arm64, by a name the others can know", () => {
    for (const each of functionsOf(name))
      expect(one(name, "aws:lambda/function:Function", `${logical(each)}Function`)).toMatchObject({
        name: `sallyport-${stageOf(name)}-${each}`,
        runtime: "nodejs24.x",
        architectures: ["arm64"],
      });
    expect(all(name, "aws:lambda/function:Function")).toHaveLength(functionsOf(name).length);
  });

  it("keeps what each logs for three months", () => {
    const groups = all(name, "aws:cloudwatch/logGroup:LogGroup");
    // one for each function, one of the gateway, one of the proxies
    expect(groups).toHaveLength(functionsOf(name).length + 2);
    for (const group of groups) expect(group.inputs["retentionInDays"]).toBe(90);
  });

  it("tells each what it needs, and where the proxies are", () => {
    const settings = (each: string) => {
      const made = one(name, "aws:lambda/function:Function", `${logical(each)}Function`);
      return (made["environment"] as { variables: Record<string, string> }).variables;
    };
    const host = name === chosen.name ? "db.example.com" : "balancer.elb.us-east-1.amazonaws.com";
    const stage = stageOf(name);
    const { SALLYPORT_NETWORKS = "", ...api } = settings("api");
    expect(api).toMatchObject({
      SALLYPORT_TABLE: expect.stringContaining("TableTable"),
      SALLYPORT_API_URL: expect.stringMatching(/^https:\/\//),
      SALLYPORT_DISCOVER_FUNCTION: `sallyport-${stage}-discover`,
      SALLYPORT_PROBE_FUNCTION: `sallyport-${stage}-probe`,
      SALLYPORT_ROTATE_FUNCTION: `sallyport-${stage}-rotate`,
    });
    expect(settings("rotate")).toMatchObject({
      SALLYPORT_TABLE: api["SALLYPORT_TABLE"],
      SALLYPORT_PROBE_FUNCTION: `sallyport-${stage}-probe`,
      SALLYPORT_SECRET_PREFIX: `sallyport/${stage}`,
    });
    expect(settings("rotate")["SALLYPORT_MANAGED_KEY"]).toBe(
      name === chosen.name ? chosen.settings["DEPLOY_ROTATION_KEY"] : undefined,
    );
    expect(JSON.parse(SALLYPORT_NETWORKS)).toMatchObject({ default: { gate: { host, port: 7443 }, direct: { host } } });
    expect(settings("bootstrap")["SALLYPORT_API_URL"]).toBe(api["SALLYPORT_API_URL"]);
    if (name === chosen.name)
      return expect(settings("discover")["SALLYPORT_ENABLE_FUNCTION"]).toBe(`sallyport-${stage}-enable`);
    expect(settings("discover")["SALLYPORT_ENABLE_FUNCTION"]).toBeUndefined();
    expect(settings("certify")).toMatchObject({
      SALLYPORT_NETWORKS,
      SALLYPORT_ROOT_KEY: "RootKey-id",
      SALLYPORT_CERT_SECRET: `sallyport/${stage}/proxy/certificate`,
    });
  });

  it("runs jobs by the clock, tries again and keeps what fails for good", () => {
    const rates = { certify: "1 hour", discover: "5 minutes", rotate: "1 minute", sweep: "1 minute" };
    const jobs = Object.entries(rates).filter(([job]) => functionsOf(name).includes(job));
    const letters = expect.stringMatching(/:DeadLetters$/);
    for (const [job, rate] of jobs) {
      expect(one(name, "aws:scheduler/schedule:Schedule", `${logical(job)}ScheduleSchedule`)).toMatchObject({
        scheduleExpression: `rate(${rate})`,
        state: "ENABLED",
        target: {
          arn: expect.stringMatching(new RegExp(`:${logical(job)}Function$`)),
          retryPolicy: { maximumRetryAttempts: 2 },
          deadLetterConfig: { arn: letters },
        },
      });
      expect(
        one(name, "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig", `${logical(job)}Retries`),
      ).toMatchObject({
        maximumRetryAttempts: 2,
        destinationConfig: { onFailure: { destination: letters } },
      });
    }
    expect(all(name, "aws:scheduler/schedule:Schedule")).toHaveLength(jobs.length);
  });

  it("stands the probe where the proxies stand, and nothing else there", () => {
    const inside = all(name, "aws:lambda/function:Function").filter(({ inputs }) => inputs["vpcConfig"] !== undefined);
    expect(inside.map((made) => made.name)).toEqual(["ProbeFunction"]);
    const { subnets, securityGroups } = one(name, "aws:ecs/service:Service", "ProxyService")[
      "networkConfiguration"
    ] as {
      subnets: string[];
      securityGroups: string[];
    };
    expect(inside[0]?.inputs["vpcConfig"]).toMatchObject({ subnetIds: subnets });
    expect(inside[0]?.inputs["vpcConfig"]).toMatchObject({ securityGroupIds: securityGroups.slice(1) });
    expect(securityGroups.slice(0, 2)).toEqual(["ProxyGroup-id", "ReachGroup-id"]);
  });

  it("S-12 lets API Gateway invoke the API alone; bootstrap is reached through IAM only", () => {
    const permitted = all(name, "aws:lambda/permission:Permission").map(({ inputs }) => inputs);
    expect(permitted).toEqual([
      expect.objectContaining({
        function: expect.stringMatching(/:ApiFunction$/),
        principal: "apigateway.amazonaws.com",
      }),
    ]);
    expect(all(name, "aws:lambda/functionUrl:FunctionUrl")).toEqual([]);
    const targets = all(name, "aws:apigatewayv2/integration:Integration").map((made) => made.inputs["integrationUri"]);
    expect(targets).toEqual([expect.stringMatching(/:ApiFunction$/)]);
  });

  it("answers no other site's scripts and limits the rate of requests", () => {
    expect(one(name, "aws:apigatewayv2/api:Api", "GatewayApi")["corsConfiguration"]).toEqual({});
    expect(one(name, "aws:apigatewayv2/stage:Stage", "GatewayStage")).toMatchObject({
      defaultRouteSettings: { throttlingRateLimit: 50, throttlingBurstLimit: 100 },
    });
  });
});

describe.each([...new Set(names.flatMap(functionsOf))])("the bundle of %s", (each) => {
  const bundleOf = () => {
    const bundles = names.flatMap((name) => graph(name).bundles);
    const found = bundles.find(({ handler }) => handler === `functions/${each}.handler`);
    return found ?? expect.unreachable(`${each} was not bundled`);
  };

  it(`is at most ${mostBytes / 1000} kB`, () => {
    expect(bundleOf().bytes).toBeLessThanOrEqual(mostBytes);
  });

  it(`begins within ${mostMs} ms of computing`, async () => {
    const rod = await yardstick(inject("stacks"));
    let [least, rodLeast] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const most = (): number => mostMs * Math.max(1, rodLeast / yardstickMs);
    for (let left = tries; left > 0 && !(least <= most()); left -= 1) {
      rodLeast = Math.min(rodLeast, await begin(rod));
      least = Math.min(least, await begin(bundleOf().file));
    }
    expect(least).toBeLessThanOrEqual(most());
  });
});
