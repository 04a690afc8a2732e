// sally audit: whoever changes, takes out, moves or adds a record is found out, and what records say moves no terminal.
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Head, Signer } from "@sallyport/core/ports";
import type { Seal } from "@sallyport/core/seal";
import { openFolderSink } from "@sallyport/proxy/folder";
import { openNotary } from "@sallyport/proxy/notary";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeStatement } from "../contract/audit-sink.ts";
import { makeWorld, type World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = makeWorld();
});
afterEach(() => world.close());

const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signer: Signer = {
  key: "alias/audit",
  publicKey: async () => keys.publicKey.export({ format: "der", type: "spki" }),
  sign: async (message) => sign("sha256", message, keys.privateKey),
};
const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };

const item = (id: string, seq: number, head: string, sealed: Seal, state = "ended") => ({
  ...{ pk: { S: "session#p" }, sk: { S: id }, v: { N: "1" }, id: { S: id }, proxy: { S: "p" }, user: { S: "ana" } },
  ...{
    database: { S: "orders" },
    protocol: { S: "postgres" },
    dbUser: { S: "app" },
    token: { S: "t" },
    way: { S: "gate" },
  },
  ...{
    client: { S: "10.0.0.1:1" },
    state: { S: state },
    startedAt: { N: "1" },
    seq: { N: String(seq) },
    head: { S: head },
  },
  sealed: {
    M: {
      ...{ seq: { N: String(sealed.seq) }, head: { S: sealed.head }, key: { S: sealed.key } },
      ...{ path: { L: sealed.path.map((S) => ({ S })) }, signature: { S: sealed.signature } },
    },
  },
});

/** Three sessions of five records each, in two writings, with their heads signed by one signature. */
const write = async (
  said: (seq: number) => Record<string, unknown> = (seq) => ({ type: "query", text: `select ${seq}` }),
) => {
  const folder = join(world.folder, "audit");
  const sink = await openFolderSink({ folder, proxy: "p", clock: { now: () => 0 }, bytes: 100_000_000 });
  const ids = ["ses_a", "ses_b", "ses_c"];
  let on: Head | undefined;
  for (let seq = 1; seq <= 5; seq++) {
    for (const id of ids)
      sink.append(
        id,
        1_790_000_000_000 + seq,
        makeStatement(seq === 5 ? { event: "session.end", ...said(seq) } : said(seq)),
      );
    if (seq === 3) {
      await sink.settled();
      on = sink.head("ses_b");
    }
  }
  const notary = openNotary({ signer, digest });
  const early = on && (await notary.seal({ session: "ses_b", ...on }));
  const items = await Promise.all(
    ids.map(async (id) => {
      const { seq, head } = sink.head(id) ?? { seq: 0, head: "" };
      return item(id, seq, head, await notary.seal({ session: id, seq, head }));
    }),
  );
  await sink.close();
  const [sessions, key] = [join(world.folder, "sessions.json"), join(world.folder, "key.json")];
  writeFileSync(sessions, JSON.stringify({ Items: items, Count: 3 }));
  writeFileSync(
    key,
    JSON.stringify({ KeyId: "k", PublicKey: Buffer.from(await signer.publicKey()).toString("base64") }),
  );
  const [name = ""] = readdirSync(folder);
  const file = join(folder, name);
  return {
    folder,
    file,
    sessions,
    key,
    items,
    early,
    all: ["audit", "verify", folder, "--sessions", sessions, "--key", key],
  };
};
const edit = (file: string, change: (lines: string[]) => string[]): void =>
  writeFileSync(
    file,
    change(readFileSync(file, "utf8").split("\n").slice(0, -1))
      .map((line) => `${line}\n`)
      .join(""),
  );
const of = (lines: readonly string[], session: string): string[] => lines.filter((line) => line.includes(session));

describe("sally audit verify", () => {
  it("S-43 says that everything is there, as it was written and signed", async () => {
    const { all, folder } = await write();
    const signed = await world.run(all);
    expect(signed).toMatchObject({ status: 0, stderr: "" });
    expect(signed.stdout.match(/whole, signed$/gm)).toHaveLength(3);
    const alone = await world.run(["audit", "verify", folder, "--session", "ses_b"]);
    expect(alone.stdout).toMatch(/ses_b .*whole as far as it goes$/m);
    expect(alone.stdout).not.toContain("ses_a");
  });

  it.each<[string, (lines: string[]) => string[], RegExp]>([
    [
      "a record changed",
      (lines) =>
        lines.map((line) =>
          line
            .replace('ses_b","chain":"","seq":2', 'ses_b","chain":"","seq":2')
            .replace(/(ses_b.*)select 2/, "$1select 9"),
        ),
      /lines up to 3 are not those that line 4 follows/,
    ],
    [
      "a record of the last writing changed",
      (lines) => lines.map((line) => line.replace(/(ses_b.*)select 5/, "$1select 9")),
      /lines up to 5 are not those of its head/,
    ],
    ["a record taken out", (lines) => lines.filter((line) => !/ses_b.*"seq":2,/.test(line)), /line 2 is missing/],
    [
      "the first record taken out",
      (lines) => lines.filter((line) => !/ses_b.*"seq":1,/.test(line)),
      /line 1 is missing/,
    ],
    [
      "the last record taken out",
      (lines) => lines.filter((line) => !/ses_b.*"seq":5,/.test(line)),
      /line 5 to 5 are missing|lines 5 to 5 are missing/,
    ],
    ["all of it taken out", (lines) => lines.filter((line) => !line.includes("ses_b")), /lines 1 to 5 are missing/],
    ["a record put in twice", (lines) => [...lines, of(lines, "ses_b")[1] ?? ""], /line 2 is there twice/],
    [
      "two records' places changed, with their numbers",
      (lines) => {
        const [, second = "", third = ""] = of(lines, "ses_b");
        return lines.map((line) =>
          line === second
            ? third.replace('"seq":3', '"seq":2')
            : line === third
              ? second.replace('"seq":2', '"seq":3')
              : line,
        );
      },
      /lines up to 3 are not those that line 4 follows/,
    ],
    [
      "a record added at the end",
      (lines) => [...lines, (of(lines, "ses_b").at(-1) ?? "").replace('"seq":5', '"seq":6')],
      /not those of its head|there are more|is missing|lines up to/,
    ],
    [
      "another session's record put in its place",
      (lines) => {
        const [, other = ""] = of(lines, "ses_a");
        const [, own = ""] = of(lines, "ses_b");
        return lines.map((line) => (line === own ? other.replace("ses_a", "ses_b").replace("select", "SELECT") : line));
      },
      /lines up to 3 are not those that line 4 follows/,
    ],
  ])("S-43 finds %s", async (_what, change, problem) => {
    const { all, file } = await write();
    edit(file, change);
    const found = await world.run(all);
    expect(found.status).toBe(1);
    expect(found.stdout).toMatch(new RegExp(`ses_b .*(?:${problem.source})`));
    expect(found.stdout.match(/whole, signed$/gm)).toHaveLength(2);
  });

  it("S-43 finds a chain that was made anew, by the head that was signed", async () => {
    const { all, folder, sessions, items } = await write();
    const forged = join(world.folder, "forged");
    const sink = await openFolderSink({ folder: forged, proxy: "p", clock: { now: () => 0 }, bytes: 1_000_000 });
    for (let seq = 1; seq <= 5; seq++)
      sink.append("ses_b", seq, makeStatement({ text: "nothing to see", ...(seq === 5 && { event: "session.end" }) }));
    const head = sink.head("ses_b")?.head ?? "";
    await sink.close();
    const [own = ""] = readdirSync(folder);
    edit(join(folder, own), (lines) => lines.filter((line) => !line.includes("ses_b")));
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
    const { all, file, sessions, items, early } = await write();
    if (!early) throw new Error("nothing was signed on the way");
    edit(file, (lines) => lines.filter((line) => !/"ses_b".*"seq":[45],/.test(line)));
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
    const { folder, all, sessions, items } = await write();
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
    const { folder } = await write();
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
    const { file, folder, all } = await write((seq) => ({ type: "query", text: `${text}${seq}` }));
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
    const { all, file } = await write((seq) => ({ type: "query", text: seq === 2 ? text : "select 1" }));
    expect((await world.run(all)).status).toBe(0);
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    expect(lines).toHaveLength(15);
    expect(lines.filter((line) => (JSON.parse(line) as { text: string }).text === text)).toHaveLength(3);
  }, 30_000);
});
