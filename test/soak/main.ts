// The soak (`npm run soak`, 20 minutes; `-- --minutes 3`): a laptop world with two proxies under people of every kind at once. Memory
// and descriptors must be flat after a warm-up of a fifth of the time, nothing may fail that should not. Then, in a world of its own,
// 2,000 sessions that only stay (`-- --stay 500`). The outcome goes into docs/benchmarks.md between its own marks when the time was at
// least ten minutes.

import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeBetween } from "../bench/document.ts";
import { tell } from "../e2e/crowd.ts";
import { roleOf } from "../e2e/owner.ts";
import { openWorld } from "../e2e/world.ts";
import { mingle, type Tally } from "./client.ts";
import { holdMany } from "./hold.ts";
import { openSampler, perHour, type Sample } from "./sample.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "20" },
    stay: { type: "string", default: "2000" },
  },
});
const minutes = Number(values.minutes);
const everyMs = Math.max(2_000, (minutes * 60_000) / 240);
const megabyte = 1024 * 1024;
/**
 * What an hour may add. A leak of one kilobyte for each of the about ten logins a second would add 35 MB of heap an hour; the
 * resident set follows the collector's moods, so short runs can tell less of it.
 */
const bounds = { heap: 20 * megabyte, rss: 120 * megabyte, descriptors: 30 };

/** The bound over the part of an hour that was looked at, and what cannot be told apart from noise. */
const allowed = (bound: number, noise: number): number => bound + (noise * 60) / (minutes * 0.8);
const noise = { heap: 3 * megabyte, rss: 25 * megabyte, descriptors: 12 };

const median = (all: readonly number[]): number =>
  [...all].sort((one, two) => one - two)[Math.floor(all.length / 2)] ?? 0;
const mb = (bytes: number): string => (bytes / megabyte).toFixed(1);

const rowOf = (name: string, samples: readonly Sample[]): string => {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last) throw new Error("nothing was sampled");
  const delays = samples.map(({ delayMs }) => delayMs);
  const sessions = samples.map((one) => one.sessions);
  return `| ${name} | ${mb(first.rss)} → ${mb(last.rss)} | ${mb(first.heap)} → ${mb(last.heap)} | ${mb(perHour(samples, ({ heap }) => heap))} | ${first.descriptors} → ${last.descriptors} | ${median(sessions)} (${Math.max(...sessions)}) | ${median(delays).toFixed(0)} (${Math.max(...delays).toFixed(0)}) |`;
};

/** What grew that may not. */
const growthOf = (name: string, samples: readonly Sample[]): readonly string[] =>
  (["heap", "rss", "descriptors"] as const).flatMap((what) => {
    const slope = perHour(samples, (sample) => sample[what]);
    const most = allowed(bounds[what], noise[what]);
    return slope > most
      ? [`${name}: ${what} grows by ${Math.round(slope)} an hour, more than ${Math.round(most)}`]
      : [];
  });

const world = await openWorld({
  proxies: 2,
  settings: { max_connections: "200" },
  proxyEnv: { NODE_OPTIONS: "--inspect=127.0.0.1:0 --expose-gc" },
});
const over = new AbortController();
const problems: string[] = [];
try {
  await world.put(roleOf("soak", { bearer_logins: 100, max_connections: 100 }));
  const people = { ana: await world.person("ana", ["soak"]), bob: await world.person("bob", ["soak"]) };
  const tally: Tally = { done: new Map(), failed: new Map() };
  const samplers = await Promise.all(
    world.proxies.map((proxy) =>
      openSampler({
        pid: proxy.pid,
        log: proxy.log,
        sessions: () =>
          Number(
            /"sessions":(\d+)/.exec(
              proxy
                .log()
                .split("\n")
                .findLast((line) => line.includes('"pulse"')) ?? "",
            )?.[1] ?? 0,
          ),
      }),
    ),
  );
  const samples: Sample[][] = world.proxies.map(() => []);
  const mixing = mingle(world, people, tally, over.signal);
  const until = performance.now() + minutes * 60_000;
  let told = 0;
  while (performance.now() < until) {
    const left = Math.ceil((until - performance.now()) / 60_000);
    if (left !== told)
      console.log(`${left} minutes to go; ${[...tally.failed.values()].reduce((sum, one) => sum + one, 0)} failed`);
    told = left;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    const taken = await Promise.all(samplers.map((sampler) => sampler.take()));
    for (const [at, sample] of taken.entries()) samples[at]?.push(sample);
  }
  over.abort();
  await mixing;
  for (const sampler of samplers) sampler.close();
  const steady = samples.map((all) => all.slice(Math.floor(all.length / 5)));
  problems.push(...steady.flatMap((all, at) => growthOf(`proxy ${at + 1}`, all)));
  problems.push(...[...tally.failed].map(([what, times]) => `${times} × ${what}`));
  const complaints = world.proxies.flatMap((proxy) =>
    proxy
      .log()
      .split("\n")
      .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line)),
  );
  problems.push(...complaints.slice(0, 5));
  await world.close();
  const held = await holdMany(Number(values.stay));
  if (held.answered < held.count) problems.push(`of ${tell(held)}`);
  const text = [
    `${new Date().toISOString().slice(0, 10)}, ${minutes} minutes, two proxies on ${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.versions.node}, with a real PostgreSQL, the emulated AWS`,
    "and all clients on the same cores. First and last after a warm-up of a fifth of the time; the heap is taken after a collection.",
    "",
    "| | resident, MB | heap, MB | heap, MB an hour | descriptors | sessions, median (most) | event loop's delay, ms, median (worst) |",
    "|---|--:|--:|--:|--:|--:|--:|",
    ...steady.map((all, at) => rowOf(`proxy ${at + 1}`, all)),
    "",
    `Rounds done: ${[...tally.done].map(([what, times]) => `${what} ${times}`).join(", ")}. ${problems.length === 0 ? "Nothing failed." : `Problems: ${problems.length}.`}`,
    `${tell(held)}, on a proxy of their own.`,
    `Bounds: heap ${mb(bounds.heap)} MB, resident ${mb(bounds.rss)} MB, ${bounds.descriptors} descriptors an hour, beside a noise of ${mb(noise.heap)} MB, ${mb(noise.rss)} MB and ${noise.descriptors}.`,
  ].join("\n");
  console.log(text);
  if (minutes >= 10)
    await writeBetween(fileURLToPath(new URL("../../docs/benchmarks.md", import.meta.url)), "soak", text);
} finally {
  over.abort();
  await world.close();
}
for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);
