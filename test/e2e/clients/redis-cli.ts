// redis-cli as `sally` prints and calls it: RESP2, RESP3 (-3) and following redirections (-c), its script read from its input.
import { programWords } from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import { beforeEach, describe, expect, it } from "vitest";
import type { Ground } from "../redis-world.ts";
import { isOnPath, type Outcome, run, start } from "./program.ts";
import type { Place } from "./way.ts";

/** Why it can't be used; undefined when it can. */
const missingCli = isOnPath("redis-cli") ? undefined : "redis-cli is not on PATH: apt install redis-tools";

/** How it is called, and the environment with its secret. */
const cliWords = ({ host, port, user, password, caFile }: Place) => {
  const tls = caFile === undefined ? {} : { password: secret(password), tls: { caFile } };
  const [program, ...words] = programWords({ protocol: "redis", host, port, user, name: undefined, ...tls });
  return { program, words, env: caFile === undefined ? {} : { REDISCLI_AUTH: password } };
};

export const redisCliSuite = ({ way, database, user }: Ground): void => {
  const mark = `redis-cli-${way.name.split(" ").at(-1)}`;
  const flags = [[], ["-3"], ...(database === "wares" ? [["-c"], ["-c", "-3"]] : [])];

  describe.each(flags.map((more) => [["redis-cli", ...more].join(" "), more] as const))(
    `%s on ${database} as ${user} through ${way.name}`,
    (_, more) => {
      beforeEach(({ skip }) => skip(missingCli !== undefined, missingCli));
      const cli = async (script: string, ...over: readonly string[]): Promise<Outcome> => {
        const { program, words, env } = cliWords(await way.place());
        return run(program, [...words, ...more, ...over], { input: script, env });
      };
      const key = (name: string): string => `${mark}${more.join("")}:${name}`;
      const version = more.includes("-3") ? 3 : 2;

      it("is the authorised user, works, is told errors, and goes on", async () => {
        const script = `acl whoami
set ${key("a")} 1
incr ${key("a")}
lpush ${key("a")} x
hset ${key("h")} f v
hgetall ${key("h")}
get ${key("none")}
multi
incr ${key("a")}
exec
del ${key("a")} ${key("h")}
`;
        const { status, stdout, stderr } = await cli(script);
        const lines = stdout.trim().split("\n");
        expect([status, stderr]).toEqual([0, ""]);
        expect(lines.filter((line) => line.trim() !== "")).toEqual([
          ...[user, "OK", "2", "WRONGTYPE Operation against a key holding the wrong kind of value", "1"],
          ...(version === 3 ? ["f v"] : ["f", "v"]),
          ...["OK", "QUEUED", "3", "2"],
        ]);
      });
      it("feeds a script's text to the server, and counts keys of every slot", async () => {
        const fill = `for i = 1, 5 do redis.call('rpush', KEYS[1], i) end return redis.call('lrange', KEYS[1], 0, -1)`;
        const evaluated = await cli("", "eval", fill, "1", key("list"));
        expect([evaluated.status, evaluated.stdout.trim().split("\n")]).toEqual([0, ["1", "2", "3", "4", "5"]]);
        await cli(Array.from({ length: 40 }, (_, n) => `set ${key(`s:${n}`)} ${n}\n`).join(""));
        const scanned = await cli("", "--scan", "--pattern", `${key("s:")}*`);
        expect(new Set(scanned.stdout.trim().split("\n")).size).toBe(40);
      });
      it("hears a channel", async () => {
        const { program, words, env } = cliWords(await way.place());
        const listener = start(program, [...words, ...more, "subscribe", key("news")], { env, open: true });
        try {
          await expect.poll(listener.stdout, { timeout: 10_000, interval: 20 }).toContain("subscribe");
          await cli(`publish ${key("news")} hello\n`);
          await expect.poll(listener.stdout, { timeout: 10_000, interval: 20 }).toContain("hello");
        } finally {
          listener.child.kill();
          await listener.outcome;
        }
      });
    },
  );

  describe(`redis-cli --pipe on ${database} through ${way.name}`, () => {
    beforeEach(({ skip }) => skip(missingCli !== undefined, missingCli));
    it("loads 20,000 commands at once", async () => {
      const { program, words, env } = cliWords(await way.place());
      const input = Array.from({ length: 20_000 }, (_, n) => `SET ${mark}:{load}:${n} ${n}\r\n`).join("");
      const { stdout, stderr } = await run(program, [...words, "--pipe"], { input, env });
      expect(stdout + stderr).toContain("errors: 0, replies: 20000");
    });
  });
};
