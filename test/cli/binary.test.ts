// The program itself, as people and scripts run it: help, usage, exit statuses, output, signals, and init against Lambda.
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { openGate } from "./gate.ts";
import { makeAnswer, makeReachable, makeWorld, type World } from "./world.ts";

const main = join(import.meta.dirname, "../../packages/cli/src/main.ts");
let world: World;
let api: Api;
beforeEach(async () => {
  world = makeWorld();
  api = await serveApi({
    login: ({ user }) => ({ token: "sly_s_x", expiresAt: Date.now() + 3_600_000, user, roles: ["dev-read"] }),
    databases: () => ({ databases: [makeReachable()] }),
  });
});
afterEach(async () => {
  await api.close();
  world.close();
});

const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess =>
  spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env["PATH"], HOME: world.folder, ...env },
    stdio: "pipe",
  });
const ended = (child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    let [stdout, stderr] = ["", ""];
    child.stdout?.on("data", (chunk: Buffer) => {
      stdout += String(chunk);
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr += String(chunk);
    });
    child.once("error", reject).once("close", (status) => resolve({ status, stdout, stderr }));
  });
const sally = (args: readonly string[], env: NodeJS.ProcessEnv = {}, input = "") => {
  const child = start(args, env);
  child.stdin?.end(input);
  return ended(child);
};
const login = () => sally(["login", "--server", api.url, "--user", "ana"], {}, "a long password\n");

describe("sally", () => {
  it("--help lists every command, on stdout", async () => {
    const { status, stdout, stderr } = await sally(["--help"]);
    expect([status, stderr]).toEqual([0, ""]);
    for (const verb of "init login status logout db proxy run users create get rm lock discover".split(" "))
      expect(stdout).toMatch(new RegExp(`^  ${verb} `, "m"));
  });
  it("alone shows the help, as a usage error", async () => {
    expect(await sally([])).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("Usage: sally") });
  });
  it("--version prints one line", async () => {
    expect(await sally(["--version"])).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
  it.each([
    [["dbs"], "error: unknown command 'dbs'", "hint: sally --help says how"],
    [["db", "lst"], "error: unknown command 'lst'", "hint: sally db --help says how"],
    [["db", "ls", "--all"], "error: unknown option '--all'", "hint: sally db ls --help says how"],
    [["db", "connect"], "error: missing required argument 'name'", "hint: sally db connect --help says how"],
    [["rm", "role/a", "role/b"], "error: too many arguments", "hint: sally rm --help says how"],
    [["users", "add", "bo"], "error: required option '--roles <roles>'", "hint: sally users add --help says how"],
    [["db", "ls", "-f", "xml"], "error: option '-f, --format <format>'", "hint: sally db ls --help says how"],
    [["login", "--ttl", "soon"], "error: option '--ttl <duration>'", "hint: sally login --help says how"],
  ])("%j is a usage error with a hint", async (args, error, hint) => {
    const { status, stdout, stderr } = await sally(args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(error);
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(hint);
  });
  it("ends with 4 when not logged in", async () => {
    expect(await sally(["status"])).toEqual({
      status: 4,
      stdout: "",
      stderr: "error: you are not logged in\nhint: sally login --server URL --user NAME\n",
    });
  });
  it("logs in with a password from a pipe and lists json and plain text without colour", async () => {
    expect(await login()).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse((await sally(["db", "ls", "--format", "json"])).stdout)).toEqual([makeReachable()]);
    const { stdout } = await sally(["db", "ls"], { FORCE_COLOR: "1" });
    expect(stdout).toContain("sally db connect orders");
    expect(stdout).not.toContain("\u001b");
  });
  it("keeps its things where XDG says, unless that is a relative path", async () => {
    const XDG_CONFIG_HOME = join(world.folder, "xdg");
    await sally(["login", "--server", api.url, "--user", "ana"], { XDG_CONFIG_HOME }, "pw\n");
    expect((await sally(["db", "ls"], { XDG_CONFIG_HOME })).status).toBe(0);
    expect((await sally(["db", "ls"])).status).toBe(4);
    expect((await sally(["db", "ls"], { XDG_CONFIG_HOME: "xdg" })).status).toBe(4);
  });
  it("ends quietly when its reader has seen enough", async () => {
    await login();
    api.answers.databases = () => ({
      databases: Array.from({ length: 2000 }, (_, index) => makeReachable({ name: `orders-${index}` })),
    });
    const child = start(["db", "ls", "-f", "json"]);
    child.stdin?.end();
    child.stdout?.once("data", () => child.stdout?.destroy());
    expect(await ended(child)).toMatchObject({ status: 0, stderr: "" });
  });
  it("runs a tunnel until it is told to stop", async () => {
    const gate = await openGate();
    await login();
    api.answers.connect = () => makeAnswer({ gate: gate.gate, expiresAt: Date.now() + 3_600_000 });
    const child = start(["proxy", "db", "orders", "-f", "json"]);
    child.stdout?.once("data", () => child.kill("SIGTERM"));
    expect(await ended(child)).toMatchObject({ status: 0, stdout: expect.stringContaining('"database": "orders"') });
    await gate.close();
  });
  it("runs a program through the gate and ends with its status", async () => {
    const gate = await openGate();
    await login();
    api.answers.connect = () => makeAnswer({ gate: gate.gate, expiresAt: Date.now() + 3_600_000 });
    const script = `require("node:net").connect(process.env.PGPORT, "127.0.0.1", function () { this.write("hi") })
      .on("data", (data) => { console.log(String(data)); process.exit(9) })`;
    const { status, stdout, stderr } = await sally(["run", "orders", "--", process.execPath, "-e", script]);
    expect([status, stdout, stderr]).toEqual([9, "hi\n", ""]);
    await gate.close();
  });
});

describe("init", () => {
  const aws = { AWS_ACCESS_KEY_ID: "AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_REGION: "eu-west-1" };
  const serveLambda = async (status: number, headers: Record<string, string>, answer: unknown) => {
    const seen: { url: string | undefined; body: string; authorization: string | undefined }[] = [];
    const server = createServer((request, response) => {
      const { url, headers: sent } = request;
      text(request).then((body) => {
        seen.push({ url, body, authorization: sent.authorization });
        response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(answer));
      }, response.destroy);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const close = (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    return { seen, env: { ...aws, AWS_ENDPOINT_URL: url, HOME: world.folder }, close };
  };
  it("invokes the bootstrap function with the caller's AWS credentials and prints the invite and what to do next", async () => {
    const invite = {
      invite: "sly_i_x",
      user: "root",
      expiresAt: Date.now() + 3_600_000,
      api: "https://sally.example.com",
    };
    const lambda = await serveLambda(200, {}, invite);
    const { status, stdout, stderr } = await sally(["init", "--aws", "--user", "root"], lambda.env);
    await lambda.close();
    expect([status, stdout]).toEqual([0, "invite for root: sly_i_x\n"]);
    expect(stderr).toContain("next: sally login --server https://sally.example.com --user root --invite sly_i_x\n");
    expect(lambda.seen).toHaveLength(1);
    expect(lambda.seen[0]?.url).toBe("/2015-03-31/functions/sallyport-production-bootstrap/invocations");
    expect(JSON.parse(lambda.seen[0]?.body ?? "")).toEqual({ user: "root" });
    expect(lambda.seen[0]?.authorization).toContain("AKIAEXAMPLE");
  });
  it("takes the function's name from an option or the environment", async () => {
    const lambda = await serveLambda(200, {}, { invite: "sly_i_x", user: "admin", expiresAt: 1 });
    await sally(["init", "--aws", "--function", "other"], lambda.env);
    await sally(["init", "--aws"], { ...lambda.env, SALLYPORT_BOOTSTRAP_FUNCTION: "third" });
    await lambda.close();
    expect(lambda.seen.map(({ url }) => url?.split("/")[3])).toEqual(["other", "third"]);
  });
  it.each<[string, number, Record<string, string>, unknown, number, RegExp]>([
    [
      "a caller who may not",
      403,
      { "x-amzn-errortype": "AccessDeniedException" },
      { Message: "no" },
      3,
      /lambda:InvokeFunction/,
    ],
    [
      "a function that is not there",
      404,
      { "x-amzn-errortype": "ResourceNotFoundException" },
      { Message: "no" },
      1,
      /--function/,
    ],
    [
      "a function that fails",
      200,
      { "x-amz-function-error": "Unhandled" },
      { errorMessage: "boom", errorType: "Error" },
      1,
      /boom/,
    ],
    ["another function", 200, {}, { hello: 1 }, 1, /something else than an invite/],
    ["an empty answer", 200, {}, null, 1, /something else than an invite/],
  ])("explains %s", async (_, http, headers, body, expected, words) => {
    const lambda = await serveLambda(http, headers, body);
    const { status, stdout, stderr } = await sally(["init", "--aws"], lambda.env);
    await lambda.close();
    expect([status, stdout]).toEqual([expected, ""]);
    expect(stderr).toMatch(words);
    expect(stderr).toMatch(/^hint: /m);
  });
  it("says by which identity", async () => {
    expect(await sally(["init"])).toMatchObject({ status: 2, stderr: expect.stringContaining("--aws") });
  });
});
