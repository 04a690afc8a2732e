// 100,000 packets through accept, login and relay on streams in memory: whole ones, broken ones, cut ones. Nothing may crash,
// reject unseen, hang, reach a database before the login, or pass a relay changed. SEED=… repeats a run.
import { Failure } from "@sallyport/core/failure";
import { postgres } from "@sallyport/wire/postgres/postgres";
import { expect, test } from "vitest";
import {
  challenge,
  clear,
  gateTo,
  grantFor,
  gssRequest,
  int32,
  link,
  message,
  session,
  sslRequest,
  startupOf,
  upstreamTo,
} from "../wire/door.ts";
import { type Chance, chanceOf } from "./knock.ts";
import { noise, seed, timely, turn, unseen } from "./siege.ts";

const words = [
  "user",
  "reader",
  "database",
  "orders",
  "options",
  "-c role=x",
  "replication",
  "true",
  "role",
  "_pq_.x",
  "",
  "é",
  "a".repeat(80),
];
const lengths = [
  0, 1, 3, 4, 5, 7, 8, 10_000, 10_001, 65_536, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
];

const text = (by: Chance): string => Array.from({ length: by.below(9) }, () => by.pick(words)).join("\0");

const early = (by: Chance): Buffer =>
  by.pick([
    () => sslRequest,
    () => gssRequest,
    () => startupOf(`user\0${by.pick(words)}\0database\0${by.pick(words)}\0\0`, by.pick([0x30000, 0x30002, 0x3270f])),
    () => startupOf(text(by), by.pick([0x30000, 0x30002, 0x3270f, 0x20000, by.below(2 ** 32)])),
    () => message("", int32(80_877_102), noise(by)),
    () => message("p", by.pick(words), "\0"),
    () => message("Q", "drop table t\0"),
    () => Buffer.concat([int32(by.pick(lengths)), noise(by)]),
    () => noise(by),
  ])();

const typesOf = { client: "QPBEFDCSHdcfXp", server: "123nsIZtTDVdcGHWANSCERKv" };
const body = (by: Chance): Buffer =>
  by.pick([
    () => Buffer.from(`${text(by)}\0`),
    () => Buffer.from("select 1\0"),
    () =>
      Buffer.concat([
        Buffer.from("\0\0\0\0\0"),
        Buffer.from([by.below(3)]),
        int32(by.pick([...lengths, 2 ** 32 - 1])),
        noise(by),
      ]),
    () => noise(by),
    () => Buffer.alloc(0),
    () => Buffer.from("I"),
    () => Buffer.alloc(by.below(20) === 0 ? by.below(140_000) : 9, 0x61),
  ])();
const late = (by: Chance, from: "client" | "server"): Buffer => {
  const whole = message(by.pick([...typesOf[from]]), body(by));
  const what = by.below(30);
  if (what === 0) whole.writeUInt32BE(by.pick(lengths), 1);
  if (what === 1) whole[by.below(whole.length)] = by.below(256);
  if (what === 2) return whole.subarray(0, by.below(whole.length));
  return what === 3 ? noise(by) : whole;
};
/** What a relay passes whole, so that a run gets far. */
const sound = (by: Chance, from: "client" | "server"): Buffer =>
  from === "client"
    ? by.pick([
        message("Q", "select 1\0"),
        message("S"),
        message("P", "s\0select $1\0\0\0"),
        message("d", noise(by)),
        message("E", "\0", int32(0)),
      ])
    : by.pick([
        message("Z", "I"),
        message("D", noise(by)),
        message("C", "SELECT 1\0"),
        message("d", noise(by)),
        message("1"),
      ]);

test("accept survives 40,000 packets, and only a whole login asks to log in", async () => {
  const by = chanceOf(seed);
  let packets = 0;
  let asked = 0;
  while (packets < 40_000) {
    const { ours, theirs } = link();
    const log: string[] = [];
    const count = 1 + by.below(4);
    packets += count;
    const sent: Buffer[] = [];
    const arrival = timely("accept", postgres.accept(ours, gateTo(log))).catch((thrown: unknown) => thrown);
    for (let left = count; left > 0 && theirs.writable; left--) {
      sent.push(early(by));
      theirs.write(sent.at(-1));
      if (by.below(4) > 0) await turn();
    }
    theirs.end();
    const found = await arrival;
    if (found instanceof Failure) expect(found.code).not.toBe("internal");
    else if (typeof found === "object" && found !== null && "ask" in found) {
      asked++;
      expect(log).toEqual(["secure"]);
      expect(sent.some((packet) => packet[0] === 0x70)).toBe(true);
    } else expect(found).toSatisfy((value: object) => "probe" in value || "cancel" in value);
    ours.destroy();
  }
  expect(asked).toBeGreaterThan(0);
  await turn();
  expect(unseen).toEqual([]);
});

test("login survives 10,000 packets of a hostile server, and tells it nothing it may not know", async () => {
  const by = chanceOf(seed + 1);
  const grant = grantFor();
  for (let packets = 0; packets < 10_000; ) {
    const credential = by.pick([clear("reader", "canary-clear"), challenge("reader", "canary-challenge")]);
    const answers: Buffer[] = [Buffer.from(by.pick(["S", "S", "S", "S", "N", "SS", "E"]))];
    const methods = [0, 3, 5, 10, 11, 12, by.below(20)];
    for (let left = by.below(5); left >= 0; left--)
      answers.push(
        by.pick([
          () => message("R", int32(by.pick(methods)), noise(by)),
          () => message("R", int32(10), "SCRAM-SHA-256\0\0"),
          () => message("R", int32(0)),
          () => late(by, "server"),
        ])(),
      );
    packets += answers.length;
    const stage = upstreamTo(({ theirs }) => {
      theirs.on("data", () => {
        const answer = answers.shift();
        if (answer) theirs.write(answer);
        else theirs.destroy();
      });
      theirs.write("");
    }, credential);
    const login = postgres.login(stage.upstream, grant).catch((thrown: unknown) => thrown);
    await turn();
    // a server that says nothing more is the caller's deadline to end
    const deadline = setTimeout(() => stage.dialled[0]?.ours.destroy(), 5);
    const found = await timely("login", login);
    clearTimeout(deadline);
    if (found instanceof Failure) expect(found.code).not.toBe("internal");
    const said = stage.dialled[0]?.received() ?? Buffer.alloc(0);
    expect(said.includes("canary-challenge")).toBe(false);
    if (said.includes("canary-clear")) expect(stage.log).toContain("secure");
    stage.dialled[0]?.ours.destroy();
  }
  await turn();
  expect(unseen).toEqual([]);
});

test.each(["client", "server"] as const)(
  "relay survives 25,000 packets from the %s and passes only what it was given",
  async (from) => {
    const by = chanceOf(seed + (from === "client" ? 2 : 3));
    let packets = 0;
    let passedBytes = 0;
    while (packets < 25_000) {
      const [client, server, seen] = [link(), link(), session()];
      const peer = { address: "10.0.0.7", port: 5432 };
      const upstream = {
        socket: server.ours,
        peer,
        key: undefined,
        parameters: [],
        notices: [],
        ready: Buffer.alloc(0),
      };
      const done = timely("relay", postgres.relay({ socket: client.ours, minor: 0 }, upstream, seen.live));
      const [near, far] = from === "client" ? [client, server] : [server, client];
      const sent: Buffer[] = [];
      const reckless = by.below(2) === 0;
      for (let left = 2 + by.below(30); left > 0 && near.theirs.writable; left--) {
        const packet = reckless ? late(by, from) : sound(by, from);
        const cut = by.below(packet.length + 1);
        packets++;
        sent.push(packet);
        near.theirs.write(packet.subarray(0, cut));
        if (by.below(3) === 0) await turn();
        near.theirs.write(packet.subarray(cut));
        if (by.below(3) === 0) await turn();
      }
      // a server says why it leaves, or it has failed
      const leaves =
        from === "server" && by.below(16) > 0 ? message("E", "SFATAL\0C57P01\0Mgoing down\0\0") : undefined;
      if (leaves) {
        sent.push(leaves);
        near.theirs.write(leaves);
      }
      near.theirs.end();
      const { failure } = await done;
      const given = Buffer.concat(sent);
      const passed = far.received();
      // what a server's broken message is answered with is ours
      const ours = from === "server" && failure ? passed.lastIndexOf("E\0\0") : passed.length;
      const end = ours < 0 ? passed.length : ours;
      expect(passed.subarray(0, end).equals(given.subarray(0, end)), `seed ${seed}`).toBe(true);
      const lost = from === "server" && !leaves;
      if (!reckless)
        expect([failure?.code, end], `seed ${seed}`).toEqual([lost ? "upstream_unreachable" : undefined, given.length]);
      if (failure && reckless) expect(["protocol", "upstream_unreachable"], `seed ${seed}`).toContain(failure.code);
      for (const line of seen.lines()) JSON.stringify(line);
      passedBytes += end;
      client.ours.destroy();
      server.ours.destroy();
    }
    expect(passedBytes).toBeGreaterThan(100_000);
    expect(unseen).toEqual([]);
  },
);
