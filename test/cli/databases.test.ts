// What sally db lists, prints and explains, in-process, against an API that answers by the contract.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { hour, makeAnswer, makeReachable, makeWorld, now, tokenId, type World } from "./world.ts";

let world: World;
let api: Api;
beforeEach(async () => {
  world = makeWorld();
  api = await serveApi({});
});
afterEach(async () => {
  await api.close();
  world.close();
});
const inputs = (route: string) => api.calls.filter((call) => call.route === route).map(({ input }) => input);
describe("db ls", () => {
  const payroll = makeReachable({
    name: "payroll",
    description: "",
    labels: { env: "prod" },
    users: [
      { user: "reader", names: ["*"] },
      { user: "*", names: ["a b"] },
    ],
  });
  beforeEach(() => {
    world.loggedIn(api.url);
    api.answers.databases = () => ({ databases: [payroll, makeReachable()] });
  });
  it("shows a table with a command that works", async () => {
    const { stdout, status } = await world.run(["db", "ls"]);
    expect(status).toBe(0);
    expect(stdout.split("\n").map((line) => line.trimEnd())).toEqual([
      "Name     Description       Allowed Users  Labels             Connect",
      "orders   what was ordered  reader         env=dev,team=shop  sally db connect orders",
      "payroll                    reader, *      env=prod           sally db connect payroll -u reader -n NAME",
      "",
    ]);
  });
  it("shows more with -v", async () => {
    const [head] = (await world.run(["db", "ls", "-v"])).stdout.split("\n");
    expect(head?.split(/ {2,}/)).toEqual([
      "Name",
      "Description",
      "Protocol",
      "Kind",
      "Endpoint",
      "Status",
      "Allowed Users",
      "Labels",
      "Connect",
    ]);
  });
  it.each([
    [["env=dev"], ["orders"]],
    [["env=p*"], ["payroll"]],
    [["env=dev,team=shop"], ["orders"]],
    [["env=dev,team=other"], []],
    [["nothing=*"], []],
    [["--search", "ordered"], ["orders"]],
    [["--search", "PROD,pay"], ["payroll"]],
    [["--search", "prod,ordered"], []],
    [["env=*", "--search", "reader"], []],
  ])("%j finds %j", async (args, names) => {
    const { stdout } = await world.run(["db", "ls", ...args, "-f", "json"]);
    expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name)).toEqual(names);
  });
  it.each([["env"], ["=x"], ["env=dev,env=prod"], ["env=^(?<!x)$"]])("does not take %j for labels", async (text) => {
    expect((await world.run(["db", "ls", text])).status).toBe(2);
    expect(api.calls).toEqual([]);
  });
  it("prints yaml", async () => {
    expect((await world.run(["db", "ls", "-f", "yaml"])).stdout).toMatch(/^- name: orders\n {2}kind: rds\n/);
  });
  it("fits the terminal, and is never cut elsewhere", async () => {
    const long = makeReachable({ description: "x".repeat(300) });
    api.answers.databases = () => ({ databases: [long] });
    expect((await world.run(["db", "ls"])).stdout).toContain("x".repeat(300));
    Object.assign(world.stdout, { isTTY: true, columns: 70 });
    const { stdout } = await world.run(["db", "ls"], { env: { NO_COLOR: "1" } });
    expect(Math.max(...stdout.split("\n").map((line) => [...line].length))).toBe(70);
    expect(stdout).toContain("…");
  });
  it("colours on a terminal, never with NO_COLOR and never elsewhere", async () => {
    const sequence = "\u001b[";
    expect((await world.run(["db", "ls"])).stdout).not.toContain(sequence);
    Object.assign(world.stdout, { isTTY: true });
    expect((await world.run(["db", "ls"], { env: {} })).stdout).toContain(sequence);
    expect((await world.run(["db", "ls"], { env: { NO_COLOR: "1" } })).stdout).not.toContain(sequence);
    expect((await world.run(["db", "ls"], { env: { TERM: "dumb" } })).stdout).not.toContain(sequence);
  });
  it("S-41 lets no tag write to the terminal", async () => {
    const nasty = makeReachable({ description: "\u001b[2Jgone\r\n\u202eevil", labels: { "a\u001b": "\u009b1m" } });
    api.answers.databases = () => ({ databases: [nasty] });
    const { stdout } = await world.run(["db", "ls"]);
    expect(stdout).toContain("\\x1b[2Jgone\\x0d\\x0a\\u202eevil");
    expect(stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
  });
  it("says on stderr that there is nothing, so that a program reads an empty list", async () => {
    api.answers.databases = () => ({ databases: [] });
    expect(await world.run(["db", "ls"])).toMatchObject({ status: 0, stdout: "" });
    expect((await world.run(["db", "ls", "-f", "json"])).stdout).toBe("[]\n");
  });
});

describe("db login, env, config, logout", () => {
  const direct = { host: "proxy.example.com", port: 5432, ca: "-----PEM-----" };
  beforeEach(() => {
    world.loggedIn(api.url);
    api.answers.connect = () => makeAnswer({ direct, logins: 20, expiresAt: now + hour / 4 });
    api.answers.revoke = () => ({});
  });
  const expected =
    /^postgresql:\/\/reader:sly_c_secret@proxy\.example\.com:5432\/orders\?sslmode=verify-full&sslrootcert=(\S+)\n$/;

  it("prints a connection string that verifies in full, its CA in a private file", async () => {
    const { stdout, stderr, status } = await world.run(["db", "login", "orders", "-u", "reader", "-n", "orders"]);
    expect(status).toBe(0);
    const file = decodeURIComponent(expected.exec(stdout)?.[1] ?? "");
    expect(readFileSync(file, "utf8")).toBe(direct.ca);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(stderr).toContain("(in 15m), for 20 logins");
    expect(inputs("connect")).toEqual([{ database: "orders", user: "reader", name: "orders" }]);
  });
  it("prints json and a command", async () => {
    const data = JSON.parse((await world.run(["db", "login", "orders", "-f", "json"])).stdout);
    expect(data).toMatchObject({ host: "proxy.example.com", port: 5432, user: "reader", name: "orders", id: tokenId });
    expect(`${data.url}\n`).toMatch(expected);
    expect((await world.run(["db", "login", "orders", "-f", "cmd"])).stdout).toMatch(/^psql 'postgresql:.*'\n$/);
  });
  it("is refused, with the other way, where only the tunnel is offered", async () => {
    api.answers.connect = () => makeAnswer();
    const { status, stderr } = await world.run(["db", "login", "orders"]);
    expect(status).toBe(1);
    expect(stderr).toContain("hint: sally proxy db orders");
  });
  it("prints a login as exports and as parts, the token in the first alone", async () => {
    await world.run(["db", "login", "orders"]);
    const { stdout } = await world.run(["db", "env"]);
    expect(stdout).toContain("export PGPASSWORD='sly_c_secret'\nexport PGSSLMODE='verify-full'\n");
    const config = (await world.run(["db", "config", "orders"])).stdout;
    expect(config).toMatch(/host: +proxy\.example\.com\nport: +5432\nuser: +reader\ndatabase: +orders\nca: /);
    expect(config).not.toContain("sly_c_");
    expect((await world.run(["db", "config", "-f", "json"])).stdout).not.toContain("sly_c_");
  });
  it("asks for another login when the token has expired", async () => {
    await world.run(["db", "login", "orders"]);
    world.clock.set(now + hour / 4);
    const { status, stderr } = await world.run(["db", "env", "orders"]);
    expect(status).toBe(1);
    expect(stderr).toContain("hint: sally db login orders");
  });
  it("wants a name when there are several", async () => {
    await world.run(["db", "login", "orders"]);
    api.answers.connect = () => makeAnswer({ direct, database: "payroll", id: "b".repeat(64) });
    await world.run(["db", "login", "payroll"]);
    expect(await world.run(["db", "env"])).toMatchObject({ status: 2, stdout: "" });
    expect((await world.run(["db", "env", "payroll"])).status).toBe(0);
  });
  it("knows a login by the short name it was asked for by, and by its whole name", async () => {
    const database = "orders-rds-eu-west-1-111122223333";
    api.answers.connect = () => makeAnswer({ direct, database, expiresAt: now + hour / 4 });
    await world.run(["db", "login", "orders"]);
    for (const name of ["orders", database]) expect((await world.run(["db", "env", name])).status).toBe(0);
    expect((await world.run(["db", "env", "orders-rds"])).status).toBe(1);
    expect((await world.run(["db", "logout", "orders"])).stdout).toBe(`logged out of ${database}\n`);
    expect(inputs("revoke")).toEqual([{ id: tokenId }]);
  });
  it("gives tokens back and forgets them; one that cannot be given back is kept", async () => {
    await world.run(["db", "login", "orders"]);
    api.answers.revoke = () => {
      throw new Failure("unavailable", "try later");
    };
    expect((await world.run(["db", "logout", "orders"])).status).toBe(1);
    expect((await world.run(["db", "env"])).status).toBe(0);
    api.answers.revoke = () => ({});
    expect(await world.run(["db", "logout"])).toMatchObject({ status: 0, stdout: "logged out of orders\n" });
    expect(inputs("revoke")).toEqual([{ id: tokenId }, { id: tokenId }]);
    expect((await world.run(["db", "env"])).status).toBe(1);
    expect((await world.run(["db", "logout"])).stdout).toBe("");
  });
  it("S-47 S-06 a database's name chooses no file", async () => {
    api.answers.connect = () => makeAnswer({ direct, database: "../../../escaped" });
    await world.run(["db", "login", "x"]);
    expect(readdirSync(world.folder)).toEqual(["sallyport"]);
    expect(readdirSync(join(world.context.configDir, "logins"))).toEqual([
      expect.stringMatching(/^[0-9a-f]{32}\.json$/),
    ]);
  });
});

describe("db explain", () => {
  const answer = { database: "orders", user: "admin", name: "orders", roles: [], reasons: [] };
  it("says yes", async () => {
    world.loggedIn(api.url);
    api.answers.explain = () => ({ ...answer, allowed: true, roles: ["dev-read"] });
    const { status, stdout } = await world.run(["db", "explain", "orders", "-u", "admin", "--as", "bo"]);
    expect([status, stdout]).toEqual([0, 'allowed: orders as "admin", database name "orders"\n  by dev-read\n']);
    expect(inputs("explain")).toEqual([{ database: "orders", user: "admin", as: "bo" }]);
  });
  it("says no, why, and ends as the connection would", async () => {
    world.loggedIn(api.url);
    const text = 'role dev-read matches labels, but db_user "admin" is not in [reader]';
    api.answers.explain = () => ({ ...answer, allowed: false, reasons: [{ code: "no_allow", text }], nearest: text });
    const { status, stdout } = await world.run(["db", "explain", "orders", "-u", "admin"]);
    expect(status).toBe(3);
    expect(stdout).toBe(`denied: orders as "admin", database name "orders"\n  ${text}\n`);
  });
  it("names the nearest of several roles, and nobody where nobody was asked for", async () => {
    world.loggedIn(api.url);
    const reasons = ["role a lacks one thing", "role b lacks two"].map((text) => ({ code: "no_allow", text }));
    const asked = { ...answer, user: "", name: "" };
    api.answers.explain = () => ({ ...asked, allowed: false, reasons, nearest: "role a lacks one thing" });
    expect((await world.run(["db", "explain", "orders"])).stdout).toBe(
      "denied: orders\n  role a lacks one thing\n  role b lacks two\nnearest: role a lacks one thing\n",
    );
  });
});
