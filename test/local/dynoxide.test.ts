// The DynamoDB process: it is gone when it was closed, and when whoever started it was killed outright.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startDynoxide } from "@sallyport/local/dynoxide";
import { expect, test, vi } from "vitest";

const listens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

test("two run side by side, keep their tables where told, and close", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dynoxide-"));
  const file = join(folder, "tables.db");
  const [first, second] = await Promise.all([startDynoxide({ file }), startDynoxide()]);
  try {
    expect(first.port).not.toBe(second.port);
    expect(await Promise.all([listens(first.port), listens(second.port)])).toEqual([true, true]);
    expect((await stat(file)).isFile()).toBe(true);
  } finally {
    await Promise.all([first.close(), second.close()]);
    await rm(folder, { recursive: true });
  }
  expect(await Promise.all([listens(first.port), listens(second.port)])).toEqual([false, false]);
  await first.close();
});

test.runIf(process.platform === "linux")("it ends with a parent that is killed", async () => {
  const module = new URL("../../packages/local/src/dynoxide.ts", import.meta.url).href;
  const script = `const { startDynoxide } = await import(${JSON.stringify(module)}); console.log((await startDynoxide()).port); setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(parent.stdout), "line")) as [string];
  const port = Number(line);
  expect(await listens(port)).toBe(true);
  parent.kill("SIGKILL");
  await once(parent, "exit");
  await vi.waitFor(async () => expect(await listens(port)).toBe(false), { timeout: 5000, interval: 20 });
});
