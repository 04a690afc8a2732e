// What a proxy's process weighs, taken from outside and from within: its resident set and descriptors from the system, its heap and
// the delay of its event loop through the inspector's own protocol.
import { weigh } from "../e2e/crowd.ts";

export interface Sample {
  /** Seconds since the beginning. */
  readonly at: number;
  readonly rss: number;
  readonly heap: number;
  readonly descriptors: number;
  readonly sessions: number;
  /** The worst in milliseconds since the last sample. */
  readonly delayMs: number;
}

interface Answer {
  readonly id: number;
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

const ask = `(() => {
  const g = globalThis;
  const delay = g.__delay ??= (() => {
    const d = process.getBuiltinModule("node:perf_hooks").monitorEventLoopDelay({ resolution: 10 });
    d.enable();
    return d;
  })();
  const worst = delay.max;
  delay.reset();
  g.gc?.();
  return JSON.stringify({ heap: process.memoryUsage().heapUsed, delayMs: Math.max(0, worst / 1e6 - 10) });
})()`;

/** Where node says that its inspector listens. */
const inspectorOf = async (log: () => string): Promise<string> => {
  for (let tries = 0; tries < 100; tries += 1) {
    const [, url] = /Debugger listening on (ws:\S+)/.exec(log()) ?? [];
    if (url !== undefined) return url;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the proxy has no inspector");
};

export const openSampler = async (of: { pid: number; log(): string; sessions(): number }) => {
  const socket = new WebSocket(await inspectorOf(of.log));
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const waiting = new Map<number, (answer: Answer) => void>();
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    waiting.get(answer.id)?.(answer);
  });
  const startedAt = performance.now();
  let id = 0;
  const evaluate = async (expression: string): Promise<unknown> => {
    const next = ++id;
    const answer = await new Promise<Answer>((resolve) => {
      waiting.set(next, resolve);
      socket.send(
        JSON.stringify({ id: next, method: "Runtime.evaluate", params: { expression, returnByValue: true } }),
      );
    });
    waiting.delete(next);
    return answer.result?.result?.value;
  };
  return {
    take: async (): Promise<Sample> => {
      const { heap, delayMs } = JSON.parse(String(await evaluate(ask))) as { heap: number; delayMs: number };
      const at = (performance.now() - startedAt) / 1_000;
      return { at, ...weigh(of.pid), heap, delayMs, sessions: of.sessions() };
    },
    close: () => socket.close(),
  };
};

/** Least squares: how much it grows in an hour. */
export const perHour = (samples: readonly Sample[], of: (sample: Sample) => number): number => {
  const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;
  const [x, y] = [mean(samples.map(({ at }) => at)), mean(samples.map(of))];
  const spread = samples.reduce((sum, { at }) => sum + (at - x) ** 2, 0);
  const slope = samples.reduce((sum, sample) => sum + (sample.at - x) * (of(sample) - y), 0) / spread;
  return slope * 3_600;
};
