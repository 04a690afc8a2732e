// Not being stopped while somebody is here: the proxy's asking, against the agent's endpoint as ECS documents it.
import { openAccount } from "@sallyport/local/account";
import { type Agent, openAgent } from "@sallyport/local/agent";
import { openProtection, openWish } from "@sallyport/proxy/protection";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeClock } from "./house.ts";

const taskArn = "arn:aws:ecs:eu-west-1:111122223333:task/sallyport-proxies/1";
const own = { actions: ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"], resources: [taskArn] };
const minute = 60_000;

let clock: ReturnType<typeof makeClock>;
let agent: Agent;
let account: ReturnType<typeof openAccount>;
let warned: string[];
beforeEach(async () => {
  clock = makeClock(1_000_000);
  account = openAccount({ now: clock.now });
  account.addRole({ name: "proxy", statements: [own] });
  const { credentials } = account.session("proxy", { sessionName: "1", lifetimeMs: 3_000 * minute });
  agent = await openAgent({ account, credentials: () => credentials, taskArn, now: clock.now });
  warned = [];
});
afterEach(() => agent.close());

const endpoint = (): string => agent.env["ECS_AGENT_URI"] ?? "";
const open = () => {
  const warn = (message: string, facts?: Readonly<Record<string, unknown>>): void => {
    warned.push(`${message} ${JSON.stringify(facts)}`);
  };
  return openProtection({ endpoint: endpoint(), steady: clock, log: { info: () => {}, warn, error: warn } });
};

it("is asked for while wanted, renewed long before it ends, and given up when it is not", async () => {
  const protection = open();
  await protection.want(false);
  expect(agent.isProtected()).toBe(false);
  for (let passed = 0; passed < 300; passed += 1) {
    await protection.want(true);
    expect(agent.isProtected(), `after ${passed} minutes`).toBe(true);
    clock.move(minute);
  }
  await protection.want(false);
  expect(agent.isProtected()).toBe(false);
  expect(warned).toEqual([]);
});

it("ends by itself when the task asks no more", async () => {
  await open().want(true);
  clock.move(60 * minute);
  expect(agent.isProtected()).toBe(false);
});

it("is asked for again, now and then, when ECS does not answer, and nothing else comes of it", async () => {
  const protection = open();
  agent.fail("ThrottlingException");
  for (let second = 0; second < 60; second += 1) {
    await protection.want(true);
    clock.move(1_000);
  }
  expect(warned).toHaveLength(4);
  expect(warned[0]).toContain("ThrottlingException");
  expect(protection.active()).toBe(false);
  agent.fail(undefined);
  await protection.want(true);
  expect(protection.active()).toBe(true);
});

it("S-44 is the task's own role to ask for, on the proxies' tasks alone", async () => {
  account.attach("arn:aws:iam::111122223333:role/proxy", [
    { ...own, resources: [taskArn.replace("proxies", "other")] },
  ]);
  const protection = open();
  await protection.want(true);
  expect(agent.isProtected()).toBe(false);
  expect(warned[0]).toContain("AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/proxy/1");
  expect(warned[0]).toContain("ecs:UpdateTaskProtection");
});

it.each([
  '{"ProtectionEnabled": "yes"}',
  '{"ProtectionEnabled": true, "ExpiresInMinutes": 0}',
  '{"ProtectionEnabled": true, "ExpiresInMinutes": 2881}',
  "no JSON",
])("the agent refuses %s", async (body) => {
  const response = await fetch(`${endpoint()}/task-protection/v1/state`, { method: "PUT", body });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { Code: "InvalidParameterException", Arn: taskArn } });
  expect(agent.isProtected()).toBe(false);
});

it("tells until when", async () => {
  const state = `${endpoint()}/task-protection/v1/state`;
  const told = async () => (await fetch(state)).json();
  expect(await told()).toEqual({ protection: { ExpirationDate: null, ProtectionEnabled: false, TaskArn: taskArn } });
  await open().want(true);
  expect(await told()).toEqual({
    protection: { ExpirationDate: "1970-01-01T01:16:40Z", ProtectionEnabled: true, TaskArn: taskArn },
  });
});

it("is wanted while there are sessions, and a minute longer, unless the task is leaving", () => {
  const wish = openWish(clock);
  expect(wish({ sessions: 0, leaving: false })).toBe(false);
  expect(wish({ sessions: 1, leaving: false })).toBe(true);
  clock.move(59_000);
  expect(wish({ sessions: 0, leaving: false })).toBe(true);
  expect(wish({ sessions: 0, leaving: true })).toBe(false);
  clock.move(1_000);
  expect(wish({ sessions: 0, leaving: false })).toBe(false);
  expect(wish({ sessions: 1, leaving: true })).toBe(true);
});
