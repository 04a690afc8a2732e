// An audit in a folder as a proxy writes it, its heads signed as the table has them, and hands that change its lines.
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Head, Signer } from "@sallyport/core/ports";
import type { Seal } from "@sallyport/core/seal";
import { openFolderSink } from "@sallyport/proxy/folder";
import { openNotary } from "@sallyport/proxy/notary";
import { makeStatement } from "../contract/audit-sink.ts";
import type { World } from "./world.ts";

const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signer: Signer = {
  key: "alias/audit",
  publicKey: async () => keys.publicKey.export({ format: "der", type: "spki" }),
  sign: async (message) => sign("sha256", message, keys.privateKey),
};
const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };

export const item = (id: string, seq: number, head: string, sealed: Seal, state = "ended") => ({
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
export const writeAudit = async (
  world: World,
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
/** A line and whose it is, by hand: its own word, or that of the line before it. */
export interface Told {
  readonly session: string;
  readonly line: string;
}
export const edit = (file: string, change: (lines: Told[]) => readonly Told[]): void => {
  let session = "";
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line): Told => {
      session = /^\{"session":"(ses_.)"/.exec(line)?.[1] ?? session;
      return { session, line };
    });
  writeFileSync(
    file,
    change(lines)
      .map(({ line }) => `${line}\n`)
      .join(""),
  );
};
export const is = ({ session, line }: Told, whose: string, seq: number): boolean =>
  session === whose && line.includes(`"seq":${seq},`);
export const at = (lines: readonly Told[], whose: string, seq: number): Told => {
  const found = lines.find((one) => is(one, whose, seq));
  if (!found) throw new Error(`no line ${seq} of ${whose}`);
  return found;
};
/** Line `seq` of ses_b put in another's place. */
export const put = (lines: readonly Told[], seq: number, line: string): Told[] =>
  lines.map((one) => (is(one, "ses_b", seq) ? { ...one, line } : one));
export const without = (lines: readonly Told[], ...numbers: readonly number[]): Told[] =>
  lines.filter((one) => !numbers.some((seq) => is(one, "ses_b", seq)));
