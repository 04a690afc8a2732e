// Bytes inside a session of a real proxy: what is no message ends it with nothing of it passed on, and what is one is told as the
// server itself understood it.
import { describe, expect, it } from "vitest";
import { chainOf, recordsOf } from "../contract/audit-sink.ts";
import { message, sslRequest, startup } from "../local/postgres-bytes.ts";
import { enter, eventually, within } from "./attack.ts";
import { say, short } from "./clients/raw.ts";
import { besiege } from "./siege.ts";

const { world, table, proxy, issue } = besiege();

describe("inside a session", () => {
  it.each([
    ["a length of 3", Buffer.from("51000000035100", "hex")],
    ["a negative length", Buffer.from("51ffffffff00000000", "hex")],
    ["a length of 2³¹−1", Buffer.from("517fffffff00000000", "hex")],
    ["a type of nobody's", message("~", "select 1\0")],
    ["a password in its midst", say("p", "select 1")],
    ["a startup in its midst", startup(0x30000, "user", "writer", "database", "orders")],
    ["an SSLRequest in its midst", sslRequest],
    ["a Sync with a body", message("S", "select 1\0")],
    ["a text that ends before its message", message("Q", "select 'one'\0; select 'smuggled'\0")],
    ["a text without an end", message("Q", "select 'smuggled'")],
    ["a Parse that counts types it does not have", say("P", "", "select 'smuggled'", short(7))],
    ["a Bind that counts values it does not have", say("B", "", "", short(0), short(3), short(0))],
    ["an Execute without its rows", say("E", "")],
  ])("S-30 S-23 %s ends the session with 08P01, and nothing of it reaches the server", async (_, bytes) => {
    const { answer, door } = await issue();
    const session = await enter(door);
    expect(await session.query("select 'before'")).toEqual(["before"]);
    session.send(bytes, say("Q", "select 'smuggled'"));
    const ending = await within(4_000, "the end", session.ending());
    expect(ending.code).toBe("08P01");
    await eventually("the end is written", async () => (await table().spent(answer.id)).live === 0);
    expect(logged(session.pid)).not.toContain("smuggled");
    const [item] = await table().sessions(answer.id);
    expect(item).toMatchObject({ state: "ended", reason: expect.stringMatching(/^protocol: /) });
  });

  /** Statements as the server itself wrote them down, of one backend. */
  const logged = (pid: number): string =>
    (world().servers[0]?.log() ?? "")
      .split(/\n(?!\t)/)
      .flatMap((entry) => {
        const [, of, text] = /^(\d+) LOG: {2}(?:statement|execute [^:]*): ([\s\S]*)$/.exec(entry) ?? [];
        return Number(of) === pid && text !== undefined ? [text.replaceAll("\n\t", "\n")] : [];
      })
      .join("\n§\n");
  const audited = async (session: string): Promise<Readonly<Record<string, unknown>>[]> =>
    recordsOf(await world().laptop.trail()).filter((line) => line.session === session);

  it("S-30 the audit tells what the server's own log tells, statement by statement", async () => {
    const { answer, door } = await issue();
    const session = await enter(door);
    const texts = [
      "select 1",
      "select 1; select 2 -- and a comment",
      "  select\n\t'ünïcødé 🐘' /* § */  ",
      "select $$a;b$$, 'it''s', E'\\\\'",
      `select length('${"x".repeat(100_000)}')`,
      "begin; select 1; commit",
      "-- nothing",
    ];
    for (const text of texts) await session.query(text);
    const bind = say("B", "", "s", short(0), short(1), 2, Buffer.from("42"), short(0));
    const parse = say("P", "s", "select $1::int + 1", short(0));
    session.send(parse, bind, say("E", "", 0), bind, say("E", "", 0), say("S"));
    while ((await session.next())?.type !== "Z");
    session.send(say("X"));
    await session.ending();
    await eventually("the end is written", async () => (await table().spent(answer.id)).live === 0);
    const [item] = await table().sessions(answer.id);
    const lines = await audited(String(item?.sk));
    const told = lines.flatMap((line) => {
      if (line["type"] === "query") return [String(line["text"])];
      return line["type"] === "execute" ? ["select $1::int + 1"] : [];
    });
    const whole = joinParts(lines.filter((line) => line["type"] === "query"));
    expect(whole).toEqual(texts);
    await eventually("the server's log", () => logged(session.pid).includes("select $1::int + 1"));
    const server = logged(session.pid)
      .split("\n§\n")
      .filter((text) => text !== "-- nothing");
    const ours = [
      ...whole.filter((text) => text !== "-- nothing"),
      ...told.filter((text) => text.startsWith("select $1")),
    ];
    expect(ours).toEqual(server);
    expect(lines.at(0)).toMatchObject({ event: "session.start", seq: 1 });
    expect(lines.at(-1)).toMatchObject({ event: "session.end", seq: lines.length });
    const { head } = chainOf(await world().laptop.trail(), String(item?.sk));
    expect(item).toMatchObject({ seq: lines.length, head, sealed: { seq: lines.length, head } });
  });

  const joinParts = (lines: readonly Record<string, unknown>[]): string[] => {
    const texts: string[] = [];
    for (const { part, text } of lines) {
      if (part === undefined || part === 0) texts.push(String(text));
      else texts[texts.length - 1] += String(text);
    }
    return texts;
  };
});

it("after all of it the proxy has nothing to complain of", () => {
  const complaints = proxy()
    .log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"|Warning|at file:/.test(line));
  expect(complaints).toEqual([]);
});
