import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { openBalancer } from "@sallyport/local/balancer";
import { openFunctions } from "@sallyport/local/functions";
import { openGateway } from "@sallyport/local/gateway";
import { launcher } from "@sallyport/local/launcher";
import { openSchedule } from "@sallyport/local/schedule";
import { openCredentialsEndpoint, startTask } from "@sallyport/local/task";
import { afterEach, describe, expect, it, vi } from "vitest";

const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

describe("functions", () => {
  const open = (timeoutMs = 5000) => {
    const entry = new URL("./fixtures/echo.ts", import.meta.url).href;
    const runtime = openFunctions({
      echo: { entry, arn: "arn:aws:lambda:::function:echo", env: { AWS_REGION: "eu-west-1" }, timeoutMs },
    });
    undo.push(() => runtime.close());
    return runtime;
  };
  it("run with their own environment and nothing of ours", async () => {
    const runtime = open();
    expect(await runtime.invoke("echo", { a: 1, gone: undefined })).toEqual({
      event: { a: 1 },
      name: "echo",
      region: "eu-west-1",
    });
    // what a worker prints may arrive after its answer
    await vi.waitFor(() => expect(runtime.log()).toContain("echoed"), { timeout: 5000 });
  });
  it("pass on what the handler throws", async () => {
    await expect(open().invoke("echo", { fail: "no" })).rejects.toMatchObject({ name: "TypeError", message: "no" });
  });
  it("are cut off when their time is over", async () => {
    await expect(open(100).invoke("echo", { hang: true })).rejects.toThrow(/timed out/);
  });
  it("that do not exist are an error", async () => {
    const runtime = open();
    expect(runtime.has("echo")).toBe(true);
    expect(runtime.has("toString")).toBe(false);
    await expect(runtime.invoke("nothing", {})).rejects.toThrow(/no function/);
  });
});

describe("the gateway", () => {
  interface Event {
    rawPath: string;
    body?: string;
    headers: Record<string, string>;
    queryStringParameters?: Record<string, string>;
    requestContext: { http: { method: string; sourceIp: string } };
  }
  const open = async (answer: (event: Event) => unknown) => {
    const gateway = await openGateway({ invoke: async (event) => answer(event as Event) });
    undo.push(() => gateway.close());
    return gateway.url;
  };
  it("makes a payload 2.0 event of a request and a response of the answer", async () => {
    const url = await open((event) => ({ statusCode: 201, headers: { "x-a": "b" }, body: JSON.stringify(event) }));
    const response = await fetch(`${url}/v1/things?x=1&x=2`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json", Authorization: "t" },
    });
    expect(response.status).toBe(201);
    expect(response.headers.get("x-a")).toBe("b");
    expect(await response.json()).toMatchObject({
      version: "2.0",
      rawPath: "/v1/things",
      body: "{}",
      headers: { authorization: "t" },
      queryStringParameters: { x: "1,2" },
      requestContext: { http: { method: "POST", sourceIp: "127.0.0.1" } },
    });
  });
  it("answers 500 without a word of why when the function throws", async () => {
    const url = await open(() => {
      throw new Error("canary");
    });
    const response = await fetch(url);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("canary");
  });
  it("refuses a body over 10 MB", async () => {
    const url = await open(() => "never");
    const response = await fetch(url, { method: "POST", body: Buffer.alloc(10 * 1024 * 1024 + 1) }).catch(
      () => undefined,
    );
    expect(response?.status ?? 413).toBe(413);
  });
});

describe("the schedule", () => {
  it("runs each job when its time has come by the clock it is given", async () => {
    const ran: string[] = [];
    const schedule = openSchedule(
      [
        { name: "five", everyMs: 5 },
        { name: "two", everyMs: 2 },
      ],
      async (name) => ran.push(name),
      0,
    );
    for (let at = 1; at <= 6; at++) await schedule.tick(at);
    expect(ran).toEqual(["two", "two", "five", "two"]);
  });
  it("keeps going when a job fails", async () => {
    const schedule = openSchedule([{ name: "bad", everyMs: 1 }], () => Promise.reject(new Error("no")), 0);
    expect(await schedule.tick(1)).toEqual(["bad"]);
    expect(await schedule.tick(2)).toEqual(["bad"]);
  });
});

describe("a task", () => {
  const entry = new URL("./fixtures/task.mjs", import.meta.url).pathname;
  it("takes its role's keys from the credentials endpoint, inherits nothing, and ends by signal", async () => {
    const keys = await openCredentialsEndpoint(() => ({
      accessKeyId: "ASIA1",
      secretAccessKey: "s",
      sessionToken: "t",
      expiration: new Date(0),
    }));
    undo.push(() => keys.close());
    const task = await startTask({ entry, flags: [], env: keys.env, launcher: launcher("KILL") });
    undo.push(() => task.kill());
    expect(task.ready).toMatchObject({ keys: { AccessKeyId: "ASIA1", Token: "t" }, refused: 403, inherited: null });
    task.signal("SIGTERM");
    expect(await task.exited).toBe(7);
  });
  it("that ends before it is ready says what it wrote", async () => {
    await expect(startTask({ entry, flags: [], env: { BROKEN: "1" } })).rejects.toThrow(/broken as asked/);
  });
});

describe("the balancer", () => {
  const server = async (name: string) => {
    const listening = createServer((socket) => socket.end(name)).listen(0, "127.0.0.1");
    await once(listening, "listening");
    undo.push(async () => listening.close());
    return (listening.address() as AddressInfo).port;
  };
  const ask = async (port: number): Promise<string> => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text += bytes;
    });
    await once(socket, "close").catch(() => {});
    return text;
  };
  it("takes its targets in turn, and resets when there are none", async () => {
    const balancer = await openBalancer();
    undo.push(() => balancer.close());
    const reset = connect(balancer.port, "127.0.0.1");
    expect(await once(reset, "error")).toMatchObject([{ code: "ECONNRESET" }]);
    balancer.target([await server("a"), await server("b")]);
    expect([await ask(balancer.port), await ask(balancer.port), await ask(balancer.port)].sort()).toHaveLength(3);
    expect(new Set([await ask(balancer.port), await ask(balancer.port)])).toEqual(new Set(["a", "b"]));
  });
});
