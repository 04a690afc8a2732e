// 100,000 packets through accept, login and relay on streams in memory: whole ones, broken ones, cut ones. Nothing may crash,
// reject unseen, hang, reach a database before the login, or pass a relay changed. SEED=… repeats a run.
import { Failure } from "@sallyport/core/failure";
import { mysql } from "@sallyport/wire/mysql/mysql";
import { expect, test } from "vitest";
import { challenge, clear, gateTo, grantFor, link, session, upstreamTo } from "../wire/door.ts";
import * as my from "../wire/mysql/bytes.ts";
import { serverOn } from "../wire/mysql/stand.ts";
import { type Chance, chanceOf } from "./knock.ts";
import { noise, seed, timely, turn, unseen } from "./siege.ts";

const tls = (my.usual | my.bits.ssl) >>> 0;
const plugins = ["caching_sha2_password", "mysql_clear_password", "mysql_native_password", "dialog", ""];

/** A packet turned into another: a byte, its length, its number, its end. */
const broken = (by: Chance, whole: Buffer): Buffer => {
  const copy = Buffer.from(whole);
  const how = by.below(5);
  if (how === 0) copy[by.below(copy.length)] = by.below(256);
  else if (how === 1) copy.writeUIntLE(by.pick([0, 1, 3, 0xff_fffe, 0xff_ffff, by.below(400)]), 0, 3);
  else if (how === 2) copy[3] = by.below(256);
  else if (how === 3) return copy.subarray(0, by.below(copy.length + 1));
  return copy;
};

const early = (by: Chance, number: number): Buffer => {
  const said = {
    flags: tls,
    plugin: by.pick(plugins),
    auth: by.pick([Buffer.from("token\0"), Buffer.alloc(32, 1), noise(by)]),
  };
  const whole = by.pick([
    () => my.packet(number, my.opening(by.pick([tls, tls, 0xffff_ffff, by.below(2 ** 31)]))),
    () => my.packet(number, my.response(said)),
    () => my.packet(number, my.response({ ...said, schema: "orders", attributes: noise(by) })),
    () => my.packet(number, "token\0"),
    () => my.packet(number, noise(by)),
  ])();
  return by.below(3) === 0 ? broken(by, whole) : whole;
};

test("accept survives 40,000 packets, and only a whole login asks to log in", async () => {
  const by = chanceOf(seed);
  let packets = 0;
  let asked = 0;
  while (packets < 40_000) {
    const { ours, theirs } = link();
    const log: string[] = [];
    const arrival = timely("accept", mysql.accept(ours, gateTo(log))).catch((thrown: unknown) => thrown);
    const count = 1 + by.below(4);
    packets += count;
    for (let at = 0; at < count && theirs.writable; at++) {
      theirs.write(
        at === 0 && by.below(4) > 0 ? my.packet(1, my.opening(tls)) : early(by, by.pick([at + 1, at + 1, 2 * at])),
      );
      if (by.below(4) > 0) await turn();
    }
    theirs.end();
    const found = await arrival;
    if (found instanceof Failure) expect(found.code, `seed ${seed}`).not.toBe("internal");
    else if (typeof found === "object" && found !== null && "ask" in found) {
      asked++;
      expect(log).toEqual(["secure"]);
    } else expect(found).toMatchObject({ probe: true });
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
    const hello = my.greeting({ plugin: by.pick(plugins), flags: by.pick([tls, tls, tls, my.usual]) });
    const answers: Buffer[] = [by.below(6) === 0 ? broken(by, hello) : hello, Buffer.alloc(0)];
    for (let left = by.below(5), number = 3; left >= 0; left--, number += 2) {
      const whole = by.pick([
        () => my.packet(number, 0xfe, by.pick(plugins), 0, by.bytes(20), 0),
        () => my.packet(number, 1, by.below(6)),
        () => my.ok(number),
        () => my.err(number, by.below(5_000), "28000", "no"),
        () => my.packet(number, noise(by)),
      ])();
      answers.push(by.below(6) === 0 ? broken(by, whole) : whole);
    }
    packets += answers.length;
    const stage = upstreamTo(({ theirs }) => {
      theirs.write(answers.shift() as Buffer);
      theirs.on("data", () => {
        const answer = answers.shift();
        if (answer) theirs.write(answer);
        else theirs.destroy();
      });
    }, credential);
    const login = mysql.login(stage.upstream, grant).catch((thrown: unknown) => thrown);
    await turn();
    // a server that says nothing more is the caller's deadline to end
    const deadline = setTimeout(() => stage.dialled[0]?.ours.destroy(), 5);
    const found = await timely("login", login);
    clearTimeout(deadline);
    if (found instanceof Failure) expect(found.code, `seed ${seed}`).not.toBe("internal");
    const said = stage.dialled[0]?.received() ?? Buffer.alloc(0);
    if (said.includes("canary-")) expect(stage.log).toContain("secure");
    stage.dialled[0]?.ours.destroy();
  }
  await turn();
  expect(unseen).toEqual([]);
});

const command = (by: Chance): Buffer =>
  by.pick([
    () => my.query("select 1"),
    () => my.query(`${by.pick(["use", "KILL QUERY", "kill"])} ${by.pick(["x", "77", "4000000001"])}`),
    () => my.packet(0, by.pick([0x0e, 0x0d, 0x1f, 0x09])),
    () => my.packet(0, 0x16, "select ?, ?"),
    () => my.packet(0, 0x17, my.u32(by.below(3)), 0, my.u32(1), noise(by)),
    () => my.packet(0, 0x18, my.u32(1), my.u16(0), noise(by)),
    () => my.packet(0, 0x1c, my.u32(1), my.u32(9)),
    () => my.packet(0, 0x19, my.u32(1)),
    () => my.packet(0, by.pick([0x11, 0x12, 0x77]), noise(by)),
    () => my.packet(0, by.below(256), noise(by)),
  ])();
const answer = (by: Chance, number: number): Buffer =>
  by.pick([
    () => my.result(["a", "b"]),
    () => my.ok(number, { affected: by.below(300), status: by.pick([2, 10, 0x4002]) }),
    () => my.err(number, 1064, "42000", "no"),
    () => my.eof(number),
    () => my.packet(number, 0, my.u32(by.below(3)), my.u16(by.below(3)), my.u16(by.below(3)), 0, my.u16(0)),
    () => my.packet(number, by.below(256), noise(by)),
    () => my.packet(number, 0xfb, "/etc/passwd"),
  ])();

test("relay survives 50,000 packets from both sides at once and passes only what it was given, in order", async () => {
  const by = chanceOf(seed + 2);
  let packets = 0;
  let passedBytes = 0;
  const flags = [
    my.usual,
    my.usual | my.bits.noEof,
    my.usual | my.bits.noEof | my.bits.track | my.bits.queryAttributes,
  ];
  while (packets < 50_000) {
    const [client, server, seen] = [link(), link(), session()];
    const agreed = { flags: by.pick(flags), extended: by.pick([0, 0x3d]) };
    const done = timely(
      "relay",
      mysql.relay(
        { socket: client.ours, agreed, next: 3, ...(by.below(2) > 0 ? { connection: 0x8000_0001 } : {}) },
        serverOn(server, agreed, by.below(2) > 0),
        seen.live,
      ),
    );
    const sent = { client: [] as Buffer[], server: [] as Buffer[] };
    const reckless = by.below(2) === 0;
    for (let left = 2 + by.below(30); left > 0; left--) {
      const from = by.pick(["client", "server"] as const);
      const near = from === "client" ? client : server;
      const made = from === "client" ? command(by) : answer(by, 1 + by.below(2));
      const packet = reckless && by.below(6) === 0 ? broken(by, made) : made;
      const cut = by.below(packet.length + 1);
      packets++;
      if (!near.theirs.writable) continue;
      sent[from].push(packet);
      near.theirs.write(packet.subarray(0, cut));
      if (by.below(3) === 0) await turn();
      near.theirs.write(packet.subarray(cut));
      if (by.below(3) === 0) await turn();
    }
    await turn();
    client.theirs.end();
    server.theirs.end();
    const { failure } = await done;
    // what the database heard is what was said, in order, less what stayed here
    let at = 0;
    const said = sent.client;
    for (let heard = server.received(); heard.length > 0; ) {
      const found = said
        .slice(at)
        .findIndex((one) => one.length > 0 && heard.subarray(0, one.length).equals(one.subarray(0, heard.length)));
      if (found < 0) {
        // a broken packet ends where another one begins: then all of it is a part of what was said
        expect(Buffer.concat(said).includes(heard), `seed ${seed}`).toBe(true);
        break;
      }
      at += found + 1;
      heard = heard.subarray(said[at - 1]?.length ?? 0);
    }
    passedBytes += server.received().length;
    if (failure)
      expect(["protocol", "denied", "upstream_unreachable", "too_large"], `${failure.message}, seed ${seed}`).toContain(
        failure.code,
      );
    if (!sent.client.some((one) => one.includes("4000000001"))) expect(seen.cancelled).toEqual([]);
    for (const line of seen.lines()) JSON.stringify(line);
    client.ours.destroy();
    server.ours.destroy();
  }
  expect(passedBytes).toBeGreaterThan(50_000);
  expect(unseen).toEqual([]);
});
