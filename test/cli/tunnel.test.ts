// The tunnel against a real TLS gate: what it proves, whom it trusts, how it carries bytes, how it renews.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { keepPass } from "@sallyport/cli/pass";
import { openTunnel, type Tunnel } from "@sallyport/cli/tunnel";
import type { ConnectAnswer } from "@sallyport/core/api";
import type { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { type GateOptions, openGate, type TestGate } from "./gate.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

let world: World;
let api: Api;
const closing: (() => Promise<void>)[] = [];
beforeEach(async () => {
  world = makeWorld();
  api = await serveApi({});
  world.loggedIn(api.url);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await api.close();
  world.close();
});

const failures: Failure[] = [];
const open = async (
  options: GateOptions = {},
  change: (gate: TestGate) => ConnectAnswer["gate"] = ({ gate }) => gate,
): Promise<{ gate: TestGate; tunnel: Tunnel }> => {
  failures.length = 0;
  const gate = await openGate(options);
  closing.push(gate.close);
  let issued = 0;
  api.answers.connect = () => {
    issued += 1;
    const expiresAt = world.clock.now() + hour;
    return makeAnswer({ gate: change(gate), token: `sly_c_${issued}`, expiresAt });
  };
  const keeper = await keepPass({ ...world.context, exit: () => {} }, { database: "orders" });
  const tunnel = await openTunnel(keeper, 0, (failure) => failures.push(failure));
  closing.push(tunnel.close);
  return { gate, tunnel };
};

const dial = ({ host, port }: Tunnel, allowHalfOpen = false): Socket => connect({ host, port, allowHalfOpen });
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.on("error", () => {}).once("close", () => resolve()));
const read = async (socket: Socket): Promise<string> => {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
};
/** Sends, half-closes, reads to the end. */
const exchange = (tunnel: Tunnel, text: string): Promise<string> => {
  const socket = dial(tunnel, true);
  socket.end(text);
  return read(socket);
};
/** A connection that the tunnel must close without a byte; why. */
const refused = async (tunnel: Tunnel): Promise<Failure> => {
  const socket = dial(tunnel);
  const gone = closed(socket);
  socket.write("hello");
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  await gone;
  expect(received).toBe(0);
  await expect.poll(() => failures.length).toBeGreaterThan(0);
  const [failure] = failures;
  return failure ?? expect.unreachable();
};

describe("the way in", () => {
  it("S-04b proves with the token's key over this TLS session, and says what the client dialled", async () => {
    const { gate, tunnel } = await open();
    expect(await exchange(tunnel, "one")).toBe("one");
    expect(await exchange(tunnel, "two")).toBe("two");
    expect(gate.knocks.map(({ proven }) => proven)).toEqual([true, true]);
    expect(gate.knocks[0]?.proof).not.toBe(gate.knocks[1]?.proof);
    expect(gate.knocks[0]).toMatchObject({ token: "sly_c_1", as: `127.0.0.1:${tunnel.port}` });
    expect(api.calls[0]?.input).toEqual({ database: "orders", key: gate.knocks[0]?.key });
  });
  it("listens on loopback alone", async () => {
    const { tunnel } = await open();
    expect(tunnel.host).toBe("127.0.0.1");
  });
  it.each<[string, GateOptions, (gate: TestGate) => ConnectAnswer["gate"], string]>([
    ["another authority's certificate", {}, ({ gate: { ca: _, ...rest } }) => rest, "upstream_untrusted"],
    ["a certificate for another name", { names: ["gate.example.com"] }, ({ gate }) => gate, "upstream_untrusted"],
    ["a certificate not pinned", {}, (made) => ({ ...made.gate, pins: [made.foreignPin] }), "upstream_untrusted"],
    ["no pins to hold it to", {}, ({ gate }) => ({ ...gate, pins: [] }), "upstream_untrusted"],
    ["another protocol", { alpn: [] }, ({ gate }) => gate, "protocol"],
    ["TLS 1.2", { maxVersion: "TLSv1.2" }, ({ gate }) => gate, "unavailable"],
  ])("shows its token to no gate with %s", async (_, options, change, code) => {
    const { gate, tunnel } = await open(options, change);
    expect((await refused(tunnel)).code).toBe(code);
    expect(gate.knocks).toEqual([]);
  });
  it("takes a pin of several", async () => {
    const { tunnel } = await open({}, ({ gate, foreignPin }) => ({ ...gate, pins: [foreignPin, ...gate.pins] }));
    expect(await exchange(tunnel, "hello")).toBe("hello");
  });
  it("closes what the gate refuses and reports its words", async () => {
    const { tunnel } = await open({ answer: () => ({ code: "denied", message: "no longer", hint: "ask ana" }) });
    expect(await refused(tunnel)).toMatchObject({ code: "denied", message: "no longer", hint: "ask ana" });
  });
  it("takes a code it does not know for an internal failure, and nonsense for none of an answer", async () => {
    const newer = await open({ answer: () => ({ code: "newer", message: "no" }) });
    expect((await refused(newer.tunnel)).code).toBe("internal");
    const nonsense = await open({ answer: () => ({ ok: false }), behind: (socket) => socket.end() });
    expect((await refused(nonsense.tunnel)).code).toBe("protocol");
  });
  it("reports a gate that nobody opens", async () => {
    const { gate, tunnel } = await open();
    await gate.close();
    const failure = await refused(tunnel);
    expect(failure).toMatchObject({ code: "unavailable", hint: expect.stringContaining("network") });
  });
});

describe("the bytes", () => {
  it("passes on what the server says before the client does", async () => {
    const { tunnel } = await open({ greeting: "hello first" });
    expect(await exchange(tunnel, ", then me")).toBe("hello first, then me");
  });
  it("carries a half-close to the gate and still brings the answer back", async () => {
    const { tunnel } = await open({
      behind: (socket) => void read(socket).then((text) => socket.end(`${text.length} bytes`)),
    });
    expect(await exchange(tunnel, "x".repeat(1000))).toBe("1000 bytes");
  });
  it("carries much both ways, unchanged, for many at once", async () => {
    const { tunnel } = await open();
    const text = Array.from({ length: 200_000 }, (_, index) => String(index)).join("");
    const all = await Promise.all(Array.from({ length: 5 }, () => exchange(tunnel, text)));
    expect(all.every((back) => back === text)).toBe(true);
  });
  it("S-36 stops reading from a side whose other side does not read", async () => {
    const { tunnel } = await open({ behind: (socket) => socket.pause() });
    const socket = dial(tunnel).on("error", () => {});
    const chunk = Buffer.alloc(1 << 20);
    let taken = 0;
    const pour = (): void => {
      while (taken < 256 && socket.write(chunk, () => (taken += 1)));
    };
    pour();
    let before = -1;
    // until nothing moves any more: buffers of the kernel, of TLS and of two streams, and no more
    await expect
      .poll(
        () => {
          const still = taken === before && taken > 0;
          before = taken;
          return still;
        },
        { interval: 200, timeout: 10_000 },
      )
      .toBe(true);
    expect(taken).toBeLessThan(32);
    socket.destroy();
  });
  it("ends the gate's side when the client breaks off", async () => {
    const broken = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const { tunnel } = await open({
      behind: (socket) => {
        reached.resolve();
        socket.resume().on("end", broken.resolve);
      },
    });
    const socket = dial(tunnel).on("error", () => {});
    socket.write("x");
    await reached.promise;
    socket.resetAndDestroy();
    await broken.promise;
  });
  it("ends the client's side when the gate breaks off", async () => {
    const { tunnel } = await open({ behind: (socket) => socket.destroy() });
    const socket = dial(tunnel);
    const gone = closed(socket);
    socket.resume().write("x");
    await gone;
  });
  it("lets a farewell arrive when it is closed", async () => {
    const heard = Promise.withResolvers<string>();
    const { tunnel } = await open({
      behind: (socket) =>
        void read(socket).then((text) => {
          socket.end();
          heard.resolve(text);
        }, heard.reject),
    });
    const socket = dial(tunnel);
    await once(socket, "connect");
    socket.end("goodbye");
    await tunnel.close(10_000);
    expect(await heard.promise).toBe("goodbye");
  });
});

describe("the token", () => {
  const connects = () => api.calls.filter(({ route }) => route === "connect");
  it("is asked for once and used while it lasts", async () => {
    const { tunnel } = await open();
    await exchange(tunnel, "a");
    world.clock.set(now + hour / 2);
    await exchange(tunnel, "b");
    expect(connects()).toHaveLength(1);
  });
  it("is renewed before it expires, for the same user and name and with the same key, once for all who wait", async () => {
    const { gate, tunnel } = await open();
    world.clock.set(now + hour - 60_000);
    await Promise.all([exchange(tunnel, "a"), exchange(tunnel, "b")]);
    expect(connects()).toHaveLength(2);
    const [first, second] = gate.knocks;
    expect([first?.token, second?.token]).toEqual(["sly_c_2", "sly_c_2"]);
    expect(connects()[1]?.input).toEqual({ database: "orders", user: "reader", name: "orders", key: first?.key });
  });
  it("is used to its end when the server can't be asked for another", async () => {
    const { gate, tunnel } = await open();
    await api.close();
    world.clock.set(now + hour - 60_000);
    expect(await exchange(tunnel, "a")).toBe("a");
    expect(gate.knocks[0]?.token).toBe("sly_c_1");
    world.clock.set(now + hour);
    expect((await refused(tunnel)).code).toBe("unavailable");
  });
  it("is replaced, once, when the gate does not take it any more", async () => {
    const { gate, tunnel } = await open({
      answer: ({ token }) => (token === "sly_c_1" ? { code: "bad_token", message: "revoked" } : undefined),
    });
    expect(await exchange(tunnel, "a")).toBe("a");
    expect(gate.knocks.map(({ token }) => token)).toEqual(["sly_c_1", "sly_c_2"]);
  });
  it("is not asked for again when the gate denies", async () => {
    const { gate, tunnel } = await open({ answer: () => ({ code: "denied", message: "no" }) });
    await refused(tunnel);
    expect(gate.knocks).toHaveLength(1);
    expect(connects()).toHaveLength(1);
  });
  it("is renewed under a newer login of another terminal", async () => {
    const { tunnel } = await open();
    world.loggedIn(api.url, "sly_s_newer");
    world.clock.set(now + hour);
    await exchange(tunnel, "a");
    expect(connects()[1]?.token).toBe("sly_s_newer");
  });
  it("is not to be had after logout: says so and opens nothing", async () => {
    const { gate, tunnel } = await open();
    world.clock.set(now + 24 * hour);
    expect((await refused(tunnel)).code).toBe("not_logged_in");
    expect(gate.knocks).toEqual([]);
  });
  it("is waited for while the proxies start, as long as the server says", async () => {
    const states = ["starting", "starting", "ready"] as const;
    let asked = 0;
    api.answers.connect = () => makeAnswer({ state: states[asked++] ?? "ready", retryAfter: 7 });
    await keepPass({ ...world.context, exit: () => {} }, { database: "orders" });
    expect(world.slept).toEqual([7000, 7000]);
  });
  it("is given up on after five minutes of starting", async () => {
    api.answers.connect = () => makeAnswer({ state: "starting", retryAfter: 0 });
    await expect(keepPass({ ...world.context, exit: () => {} }, { database: "orders" })).rejects.toMatchObject({
      code: "starting",
    });
    expect(world.clock.now() - now).toBeLessThanOrEqual(300_000);
    expect(Math.min(...world.slept)).toBe(1000);
  });
});

it("says who has the port when it is taken", async () => {
  const { tunnel } = await open();
  const keeper = await keepPass({ ...world.context, exit: () => {} }, { database: "orders" });
  await expect(openTunnel(keeper, tunnel.port, () => {})).rejects.toMatchObject({
    code: "conflict",
    hint: expect.stringContaining("--port"),
  });
});
