// sally doctor's side of the API: what it looks at, what it makes of it, and that it asks the probe for what only that can see.
import type { Finding } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { keys } from "@sallyport/core/family";
import type { Key } from "@sallyport/core/ports";
import { adminRole } from "@sallyport/core/user";
import { openApi } from "@sallyport/functions/api";
import { describe, expect, it } from "vitest";
import { context, httpEvent, makeUser, openWorld } from "./world.ts";

const listing = "rds/eu-west-1/self";
const run = (at: number, over: object = {}): [Key, object] => {
  const line = { listing, at, complete: true, found: 1, written: [], removed: [], warnings: [] };
  return [keys.run("discovery", listing), { ...line, ...over }];
};

const open = async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("root", [adminRole]));
  const spec = { aws: [{ types: ["rds"], regions: ["eu-west-1"], tags: { "*": ["*"] } }] };
  await world.put([keys.discoveryConfig("all"), { name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }]);
  const examine = async (database?: string): Promise<readonly Finding[]> => {
    const { status, body } = await world.call("doctor", database === undefined ? {} : { database }, token);
    expect(status).toBe(200);
    return body.findings;
  };
  return { ...world, token, examine };
};
const about = (findings: readonly Finding[], what: string) => findings.filter((finding) => finding.about === what);

describe("of one database", () => {
  it("it looks at discovery, its listing, the proxies and, from inside the network, the database itself", async () => {
    const world = await open();
    await world.addDatabases({ name: "orders", vpcId: "vpc-1" });
    await world.put(run(world.clock.now()));
    await world.addProxy();
    expect(await world.examine("orders")).toEqual([
      { level: "ok", about: "orders", text: "available" },
      { level: "ok", about: listing, text: "found 1" },
      { level: "ok", about: "network default", text: "1 proxy serves it" },
      { level: "ok", about: "orders", text: "10.0.0.9 port 5432 answers, and its certificate is right" },
    ]);
    expect(world.probed).toEqual([
      expect.objectContaining({ database: "orders", partition: "aws", region: "eu-west-1", vpcId: "vpc-1" }),
    ]);
    expect(JSON.stringify(world.probed)).not.toContain("password");
  });

  it("it tells what is wrong with each, and what mends it", async () => {
    const world = await open();
    await world.addDatabases({ name: "orders", status: "unsupported", reason: "IAM authentication is off: do this" });
    await world.put(run(world.clock.now() - 3_600_000, { warnings: ["odd"] }));
    expect(await world.examine("orders")).toMatchObject([
      { level: "problem", text: "unsupported: IAM authentication is off: do this" },
      { level: "problem", about: listing, text: expect.stringContaining("ran last at"), hint: expect.any(String) },
      { level: "warning", about: listing, text: "odd" },
      { level: "problem", about: "network default", text: "no proxy serves it" },
      { level: "ok" },
    ]);
  });

  it("it passes on what the probe found, and what became of the probe", async () => {
    const world = await open();
    await world.addDatabases({ name: "orders" });
    const [reason, hint] = ["10.0.0.9 port 5432 does not answer", "a security group does not let the proxy in"];
    const node = { address: "10.0.0.9", port: 5432, result: "unreachable", tls: false, reason, hint } as const;
    const ask = async (probing: Parameters<typeof openApi>[0]["probing"]): Promise<readonly Finding[]> => {
      const api = openApi({ ...world.worldOf("api"), probing }, world.log);
      const headers = { authorization: `Bearer ${world.token}`, "content-type": "application/json" };
      const http = { method: "POST", path: "/v1/doctor", headers, body: '{"database":"orders"}' };
      return JSON.parse((await api(httpEvent(http), context)).body).findings;
    };
    expect((await ask(async () => ({ nodes: [node] }))).at(-1)).toEqual({
      level: "problem",
      about: "orders",
      text: reason,
      hint,
    });
    const gone = () => Promise.reject(new Failure("unavailable", "the probe can't be started"));
    expect((await ask(gone)).at(-1)).toMatchObject({ level: "warning", text: "the probe can't be started" });
    expect((await ask(undefined)).at(-1)).toMatchObject({
      level: "warning",
      text: expect.stringContaining("no probe"),
    });
  });

  it("that is not there says so; one that is stopped is not looked for", async () => {
    const world = await open();
    await world.addDatabases({ name: "orders", status: "unavailable", reason: "AWS says it is stopped" });
    expect((await world.call("doctor", { database: "nothing" }, world.token)).status).toBe(404);
    expect(about(await world.examine("orders"), "orders")).toHaveLength(1);
    expect(world.probed).toEqual([]);
  });
});

describe("of everything", () => {
  it("it tells of each listing that is asked for, and of the databases that are not well", async () => {
    const world = await open();
    await world.addDatabases(
      { name: "orders" },
      { name: "old", status: "unavailable", reason: "AWS says it is stopped" },
    );
    await world.put(run(world.clock.now(), { error: "rds:DescribeDBInstances is not allowed" }));
    await world.addProxy();
    const findings = await world.examine();
    expect(about(findings, listing)).toEqual([
      { level: "problem", about: listing, text: "rds:DescribeDBInstances is not allowed" },
    ]);
    expect(about(findings, "aurora/eu-west-1/self")).toMatchObject([{ level: "warning", text: "has not run yet" }]);
    expect(about(findings, "old")).toMatchObject([{ level: "problem" }]);
    expect(about(findings, "orders")).toEqual([]);
    expect(world.probed).toEqual([]);
  });
});

it("S-14 is for administrators alone", async () => {
  const world = await open();
  const token = await world.loginAs(makeUser("ana", []));
  expect((await world.call("doctor", {}, token)).status).toBe(403);
});
