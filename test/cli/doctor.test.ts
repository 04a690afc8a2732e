import { afterEach, beforeEach, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { makeWorld, type World } from "./world.ts";

let world: World;
let api: Api;
beforeEach(async () => {
  world = makeWorld();
  api = await serveApi({});
  world.loggedIn(api.url);
});
afterEach(async () => {
  world.close();
  await api.close();
});

it("sally doctor says what is wrong and how to mend it, and ends with 1", async () => {
  api.answers.doctor = () => ({
    findings: [
      { level: "ok", about: "orders", text: "available" },
      { level: "problem", about: "network default", text: "no proxy serves it", hint: "look at its log\nand again" },
    ],
  });
  expect(await world.run(["doctor", "orders"])).toEqual({
    status: 1,
    stderr: "",
    stdout: [
      "ok       orders: available",
      "problem  network default: no proxy serves it",
      "         look at its log",
      "         and again",
      "",
    ].join("\n"),
  });
  expect(api.calls.map(({ input }) => input)).toEqual([{ database: "orders" }]);
});

it("sally doctor ends with 0 when nothing is wrong, in any format, and asks of everything without a name", async () => {
  const findings = [{ level: "warning", about: "a\u001b[2J", text: "odd" }] as const;
  api.answers.doctor = () => ({ findings: [...findings] });
  const { status, stdout } = await world.run(["doctor"]);
  expect([status, stdout]).toEqual([0, "warning  a\\x1b[2J: odd\n"]);
  expect(JSON.parse((await world.run(["doctor", "-f", "json"])).stdout)).toEqual(findings);
  expect(api.calls.map(({ input }) => input)).toEqual([{}, {}]);
});
