// sally audit: what is whole is said to be, forged chains and ends are found out, and what records say moves no terminal.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFolderSink } from "@sallyport/proxy/folder";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeStatement } from "../contract/audit-sink.ts";
import { edit, item, without, writeAudit } from "./trail.ts";
import { makeWorld, type World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = makeWorld();
});
afterEach(() => world.close());

describe("sally audit verify", () => {
  it("S-43 says that everything is there, as it was written and signed", async () => {
    const { all, folder } = await writeAudit(world);
    const signed = await world.run(all);
    expect(signed).toMatchObject({ status: 0, stderr: "" });
    expect(signed.stdout.match(/whole, signed$/gm)).toHaveLength(3);
    const alone = await world.run(["audit", "verify", folder, "--session", "ses_b"]);
    expect(alone.stdout).toMatch(/ses_b .*whole as far as it goes$/m);
    expect(alone.stdout).not.toContain("ses_a");
  });

  it("S-43 finds a chain that was made anew, by the head that was signed", async () => {
    const { all, folder, sessions, items } = await writeAudit(world);
    const forged = join(world.folder, "forged");
    const sink = await openFolderSink({ folder: forged, proxy: "p", clock: { now: () => 0 }, bytes: 1_000_000 });
    for (let seq = 1; seq <= 5; seq++)
      sink.append("ses_b", seq, makeStatement({ text: "nothing to see", ...(seq === 5 && { event: "session.end" }) }));
    const head = sink.head("ses_b")?.head ?? "";
    await sink.close();
    const [own = ""] = readdirSync(folder);
    edit(join(folder, own), (lines) => without(lines, 1, 2, 3, 4, 5));
    expect((await world.run([...all.slice(0, 2), folder, forged, ...all.slice(3)])).stdout).toMatch(
      /ses_b .*not those of its head/,
    );
    // nor does it help to write the new head into the table: nobody signs it
    const tampered = items.map((one) => (one.id.S === "ses_b" ? { ...one, head: { S: head } } : one));
    writeFileSync(sessions, JSON.stringify({ Items: tampered }));
    expect((await world.run([...all.slice(0, 2), folder, forged, ...all.slice(3)])).stdout).toMatch(
      /ses_b .*not those of its head/,
    );
    const sealed = tampered.map((one) =>
      one.id.S === "ses_b" ? { ...one, sealed: { M: { ...one.sealed.M, head: { S: head } } } } : one,
    );
    writeFileSync(sessions, JSON.stringify({ Items: sealed }));
    const found = await world.run([...all.slice(0, 2), folder, forged, ...all.slice(3)]);
    expect(found.stdout).toMatch(/ses_b .*its signature is not the key's/);
    expect(found.status).toBe(1);
  });

  it("S-43 finds an end that was put back to where a head had been signed before, and says when a session has no end", async () => {
    const { all, file, sessions, items, early } = await writeAudit(world);
    if (!early) throw new Error("nothing was signed on the way");
    edit(file, (lines) => without(lines, 4, 5));
    const putBack = (state: string) =>
      writeFileSync(
        sessions,
        JSON.stringify({
          Items: items.map((one) => (one.id.S === "ses_b" ? item("ses_b", early.seq, early.head, early, state) : one)),
        }),
      );
    putBack("ended");
    const found = await world.run(all);
    expect(found.status).toBe(1);
    expect(found.stdout).toMatch(/ses_b .*it ended, and line 3, the last, is not its end/);
    putBack("lost");
    const lost = await world.run(all);
    expect(lost.stdout).toMatch(/ses_b .*whole, signed, lost$/m);
    expect(lost.stdout.match(/whole, signed$/gm)).toHaveLength(2);
  });

  it("S-43 takes a session that has just begun for whole, and no older one of which nothing is signed", async () => {
    const { folder, all, sessions, items } = await writeAudit(world);
    const unsigned = items.map((one) => {
      const { sealed: _sealed, seq: _seq, head: _head, ...rest } = one;
      return one.id.S === "ses_b" ? { ...rest, state: { S: "live" } } : one;
    });
    writeFileSync(sessions, JSON.stringify({ Items: unsigned }));
    const young = await world.run(all);
    expect(young).toMatchObject({ status: 0, stderr: "" });
    expect(young.stdout).toMatch(/ses_b .*whole as far as it goes, live$/m);
    const later = { session: "ses_d", chain: "", seq: 1, at: 1_790_000_000_000 + 3_600_000 };
    writeFileSync(join(folder, "later.jsonl"), `${JSON.stringify(later)}\n`);
    const old = await world.run(all);
    expect(old.status).toBe(1);
    expect(old.stdout).toMatch(/ses_b .*nothing of it is signed/);
    expect(old.stderr).not.toContain("--sessions");
    writeFileSync(sessions, JSON.stringify({ Items: items }));
    expect((await world.run(all)).stderr).toContain("1 sessions are not among those of --sessions");
  });

  it("says which files and lines it can't take for the audit's", async () => {
    const { folder } = await writeAudit(world);
    mkdirSync(join(folder, "more"));
    writeFileSync(
      join(folder, "more", `x_${"0".repeat(64)}.jsonl`),
      '{"session":"ses_z"}\nnot json\n{"session":"a","chain":"","seq":1,"at":1e300}\nnull\nhalf',
    );
    const { status, stderr } = await world.run(["audit", "verify", folder]);
    expect(status).toBe(1);
    expect(stderr).toContain("is not what its name says");
    for (const line of [1, 2, 3, 4, 5]) expect(stderr).toContain(`.jsonl:${line} is no line of the audit`);
  });
});

describe("S-41 what records say", () => {
  const nasty = {
    "line breaks": 'a\r\n{"session":"ses_a","seq":1}\nb',
    "terminal commands": "\u001b[2J\u001b]0;owned\u0007\u009b31m",
    "a NUL": "a\0b",
    "other line ends": "a\u2028b\u2029c\u0085d\u000bd\u000ce",
    "what turns text around": "user\u202egnp.exe\u2066x\u200b\ufeff",
    "half characters": "\ud800 x \udfff",
    "a formula": "=cmd|' /C calc'!A0",
    "a page": "<script>alert(1)</script><img src=x onerror=y>",
    "format strings": "%s%n%x {0} ${HOME} $(id) `id`",
    "quotes and backslashes": `"'\\"\\u0041\\`,
  };
  it.each(Object.entries(nasty))("%s stay one line, and print as text", async (_what, text) => {
    const { file, folder, all } = await writeAudit(world, (seq) => ({ type: "query", text: `${text}${seq}` }));
    const bytes = readFileSync(file);
    // every byte of a line is printable, but for whole characters beyond ASCII that are letters
    expect(bytes.toString("latin1").replaceAll("\n", "")).not.toMatch(/[\p{Cc}--[\x80-\x9f]]/v);
    const lines = bytes
      .toString()
      .split(/\r\n|[\n\r\u2028\u2029\u0085\v\f]/)
      .slice(0, -1);
    expect(lines).toHaveLength(15);
    const said = lines.map((line) => (JSON.parse(line) as { text: string }).text);
    expect(said.filter((one) => one === `${text}3`)).toHaveLength(3);
    expect((await world.run(all)).status).toBe(0);
    const shown = await world.run(["audit", "show", folder, "--session", "ses_a"]);
    expect(shown.stdout.split("\n")).toHaveLength(1 + 5 + 1);
    expect(shown.stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
    const json = await world.run(["audit", "show", folder, "--session", "ses_a", "-f", "json"]);
    expect((JSON.parse(json.stdout) as { text: string }[]).map((line) => line.text)).toContain(`${text}3`);
  });

  it("ten megabytes are one line too", async () => {
    const text = `select '${"é\u001b".repeat(2_500_000)}'`;
    const { all, file } = await writeAudit(world, (seq) => ({ type: "query", text: seq === 2 ? text : "select 1" }));
    expect((await world.run(all)).status).toBe(0);
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    expect(lines).toHaveLength(15);
    expect(lines.filter((line) => (JSON.parse(line) as { text: string }).text === text)).toHaveLength(3);
  }, 30_000);
});
