// Commands that run other programs through a tunnel, and the tunnel alone: what the program is given, how it all ends.
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Context } from "@sallyport/cli/context";
import { candidatePorts } from "@sallyport/cli/port";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { openGate, type TestGate } from "./gate.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

let world: World;
let api: Api;
let gate: TestGate;
beforeEach(async () => {
  world = makeWorld();
  gate = await openGate();
  api = await serveApi({
    connect: ({ database }) => makeAnswer({ gate: gate.gate, database, expiresAt: now + hour }),
  });
  world.loggedIn(api.url);
});
afterEach(async () => {
  await gate.close();
  await api.close();
  world.close();
});

/** Real programs, their output in a file of the world's folder. */
const real = (): { readonly spawn: Context["spawn"]; output(): string } => {
  const file = join(world.folder, "output");
  return {
    spawn: (program, args, options) => {
      const child = spawn(program, [...args], { ...options, stdio: ["ignore", "pipe", "inherit"] });
      child.stdout?.on("data", (chunk: Buffer) => writeFileSync(file, chunk, { flag: "a" }));
      return child;
    },
    output: () => (existsSync(file) ? readFileSync(file, "utf8") : ""),
  };
};
const node = process.execPath;
const talk = `
  const socket = require("node:net").connect(process.env.PGPORT, process.env.PGHOST, () => socket.end("through"));
  socket.on("data", (data) => process.stdout.write(data + " " + process.env.DATABASE_URL));
  socket.on("close", () => process.exit(7));`;
const exchange = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write("ping"));
    socket.once("data", (chunk: Buffer) => {
      socket.destroy();
      resolve(chunk.toString());
    });
    socket.once("error", reject).once("close", () => reject(new Error("closed")));
  });

describe("run", () => {
  it("gives a program the connection, through the gate, and passes its exit status on", async () => {
    const { spawn: start, output } = real();
    const { status, stderr } = await world.run(["run", "orders", "-u", "reader", "--", node, "-e", talk], {
      spawn: start,
    });
    expect([status, stderr]).toEqual([7, ""]);
    expect(output()).toMatch(/^through postgresql:\/\/reader@127\.0\.0\.1:\d+\/orders\?sslmode=disable$/);
    expect(gate.knocks.map(({ proven }) => proven)).toEqual([true]);
  });
  it("leaves the program's own options alone", async () => {
    const { spawn: start, output } = real();
    const script = "process.stdout.write(JSON.stringify(process.argv.slice(1)))";
    await world.run(["run", "orders", "--", node, "-e", script, "--", "-u", "--help", "-f"], { spawn: start });
    expect(JSON.parse(output())).toEqual(["-u", "--help", "-f"]);
  });
  it("ends with 128 and the signal's number when one ended the program", async () => {
    const { spawn: start } = real();
    const killed = ["run", "orders", "--", node, "-e", "process.kill(process.pid, 'SIGKILL')"];
    expect((await world.run(killed, { spawn: start })).status).toBe(137);
  });
  it("forwards signals, and leaves Ctrl-C to the terminal, which has told the program already", async () => {
    const got: string[] = [];
    const started = Promise.withResolvers<EventEmitter>();
    const start = (() => {
      const child = Object.assign(new EventEmitter(), { kill: (signal: string) => got.push(signal) > 0 });
      started.resolve(child);
      return child;
    }) as unknown as Context["spawn"];
    const stdin = Object.assign(world.context.stdin, { isTTY: true });
    const ended = world.run(["run", "orders", "--", "x"], { spawn: start, stdin });
    const child = await started.promise;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) world.signals.emit(signal, signal);
    child.emit("exit", 0, null);
    expect((await ended).status).toBe(0);
    expect(got).toEqual(["SIGTERM", "SIGHUP"]);
    expect(world.signals.eventNames()).toEqual([]);
  });
  it("says that a program can't be started", async () => {
    const { spawn: start } = real();
    const { status, stderr } = await world.run(["run", "orders", "--", "no-such-program"], { spawn: start });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: can't run no-such-program \(ENOENT\)\nhint: /);
  });
  it("wants a program", async () => {
    expect((await world.run(["run", "orders"])).status).toBe(2);
    expect(api.calls).toEqual([]);
  });
});

describe("db connect", () => {
  it("runs psql from PATH with a URL of the tunnel", async () => {
    const psql = join(world.folder, "psql");
    writeFileSync(psql, '#!/bin/sh\necho "$1 $PGPASSWORD"\nexit 3\n');
    chmodSync(psql, 0o755);
    const { spawn: start, output } = real();
    const env = { PATH: world.folder, PGPASSWORD: "real" };
    const { status } = await world.run(["db", "connect", "orders"], { spawn: start, env });
    expect(status).toBe(3);
    expect(output()).toMatch(/^postgresql:\/\/reader@127\.0\.0\.1:\d+\/orders\?sslmode=disable sallyport\n$/);
  });
  it("says what to do without psql, and looks for none in the working folder", async () => {
    for (const PATH of ["", "::", join(world.folder, "gone")]) {
      const { status, stderr } = await world.run(["db", "connect", "orders"], { env: { PATH } });
      expect(status).toBe(1);
      expect(stderr).toBe(
        "error: psql is not on PATH\nhint: install it (apt install postgresql-client, brew install libpq), or use a client of your own: sally proxy db orders\n",
      );
    }
  });
});

describe("proxy db", () => {
  const url = /postgresql:\/\/reader@127\.0\.0\.1:(\d+)\/orders\?sslmode=disable/;
  const start = async (args: readonly string[] = []): Promise<{ port: number; stop(): Promise<number> }> => {
    world.stdout.text = "";
    const ended = world.run(["proxy", "db", "orders", ...args]);
    const found = await Promise.race([
      world.printed(url),
      ended.then(({ stderr }): never => expect.unreachable(stderr)),
    ]);
    return {
      port: Number(found[1]),
      stop: async () => {
        world.signals.emit("SIGINT", "SIGINT");
        return (await ended).status;
      },
    };
  };
  it("prints ready URLs and stays until Ctrl-C", async () => {
    const { port, stop } = await start();
    expect(world.stdout.text).toContain(`jdbc:postgresql://127.0.0.1:${port}/orders?user=reader&sslmode=disable`);
    expect(world.stdout.text).toContain(`psql 'postgresql://reader@127.0.0.1:${port}/orders?sslmode=disable'`);
    expect(world.stderr.text).toContain("any password will do");
    expect(await exchange(port)).toBe("ping");
    expect(await stop()).toBe(0);
    await expect(exchange(port)).rejects.toThrow("ECONNREFUSED");
    expect(world.signals.eventNames()).toEqual([]);
  });
  it("listens on the same port each time for the same database", async () => {
    const first = await start();
    await first.stop();
    const second = await start();
    await second.stop();
    expect(second.port).toBe(first.port);
  });
  it("does not move when its port is taken, and says how to choose another", async () => {
    const first = await start();
    const second = await world.run(["proxy", "db", "orders"]);
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("choose another port with --port") });
    await first.stop();
  });
  it("prints json for programs", async () => {
    const { port, stop } = await start(["-f", "json"]);
    expect(JSON.parse(world.stdout.text)).toMatchObject({
      database: "orders",
      host: "127.0.0.1",
      port,
      user: "reader",
    });
    await stop();
  });
  it.each(["0", "65536", "x", "-1", "80.5"])("does not take %j for a port", async (port) => {
    expect((await world.run(["proxy", "db", "orders", "-p", port])).status).toBe(2);
  });
  it("steps over the ports of other databases", () => {
    const [first = 0, second] = candidatePorts("https://x", "orders", new Set());
    expect(candidatePorts("https://x", "orders", new Set([first]))[0]).toBe(second);
    expect(candidatePorts("https://x", "orders", new Set()).every((port) => port >= 20_000 && port < 30_000)).toBe(
      true,
    );
    expect(candidatePorts("https://x", "payroll", new Set())[0]).not.toBe(first);
  });
  it("reports why a client was turned away and stays", async () => {
    const { port, stop } = await start();
    await gate.close();
    await exchange(port).catch(() => {});
    await expect.poll(() => world.stderr.text).toContain("error: can't reach the gate");
    expect(await stop()).toBe(0);
  });
});
