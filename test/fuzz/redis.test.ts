// 100,000 messages through accept, login and relay on streams in memory: whole ones, broken ones, cut ones. Nothing may crash,
// reject unseen, hang, reach a database before the login, be answered out of its order, or pass a relay that refuses it. SEED=…
// repeats a run.
import { Failure } from "@sallyport/core/failure";
import type { Gate } from "@sallyport/wire/protocol";
import { redis } from "@sallyport/wire/redis/redis";
import { expect, test } from "vitest";
import { clear, grantFor, link, session, upstreamTo } from "../wire/door.ts";
import { said } from "../wire/redis/said.ts";
import { deny, password, serverOn } from "../wire/redis/stand.ts";
import { type Chance, chanceOf } from "./knock.ts";
import { noise, seed, timely, turn, unseen } from "./siege.ts";

const numbers = ["0", "-1", "1", "2147483647", "1048577", "536870913", "99999999999999999999", "", "x", "+1", "03"];
/** A message turned into another: a byte, a number behind its type, its end. */
const broken = (by: Chance, whole: Buffer): Buffer => {
  const how = by.below(4);
  const copy = Buffer.from(whole);
  if (how === 0 && copy.length > 0) copy[by.below(copy.length)] = by.below(256);
  else if (how === 1) return copy.subarray(0, by.below(copy.length + 1));
  else if (how === 2) return Buffer.concat([copy, noise(by)]);
  else {
    const text = copy.toString("latin1");
    return Buffer.from(text.replace(/([*$%>~|:])\d+/, `$1${by.pick(numbers)}`), "latin1");
  }
  return copy;
};
const cut = (by: Chance, bytes: Buffer): readonly Buffer[] => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const some = 1 + by.below(by.pick([1, 7, 100, 100_000]));
    pieces.push(bytes.subarray(at, at + some));
    at += some;
  }
  return pieces;
};

const gate: Gate = {
  secure: async (socket) => {
    socket.read(1);
    return socket;
  },
  deadline: { start: () => {}, stop: () => {} },
};
const early = (by: Chance): Buffer => {
  const whole = by.pick([
    () => said("AUTH", by.pick(["token", ""])),
    () => said("AUTH", by.pick(["ada", "default", ""]), "token"),
    () => said("HELLO", by.pick(["2", "3", "4", "x"]), "AUTH", "ada", "token", "SETNAME", by.pick(["me", "a b"])),
    () => said("HELLO", "3"),
    () => said(by.pick(["PING", "QUIT", "RESET", "SET", "COMMAND"]), "x"),
    () => Buffer.from(by.pick(["AUTH ada token\r\n", "PING\r\n", "\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"])),
    () => noise(by),
  ])();
  return by.below(3) === 0 ? broken(by, whole) : whole;
};

test("accept survives 30,000 messages, and only a whole login asks to log in", async () => {
  const by = chanceOf(seed);
  let messages = 0;
  let asked = 0;
  while (messages < 30_000) {
    const { ours, theirs } = link();
    const arrival = timely("accept", redis.accept(ours, gate)).catch((thrown: unknown) => thrown);
    theirs.write(Buffer.of(by.below(30) > 0 ? 0x16 : by.below(256)));
    const count = 1 + by.below(4);
    messages += count;
    for (let at = 0; at < count && theirs.writable; at++) {
      for (const piece of cut(by, early(by))) theirs.write(piece);
      if (by.below(4) > 0) await turn();
    }
    theirs.end();
    const found = await arrival;
    if (found instanceof Failure) expect(found.code, `${found.message}, seed ${seed}`).not.toBe("internal");
    else if (typeof found === "object" && found !== null && "ask" in found) asked++;
    else expect(found).toMatchObject({ probe: true });
    ours.destroy();
  }
  expect(asked).toBeGreaterThan(0);
  await turn();
  expect(unseen).toEqual([]);
});

const answer = (by: Chance): Buffer =>
  by.pick([
    () => Buffer.from("+OK\r\n"),
    () => Buffer.from(`-${by.pick(["ERR no", "WRONGPASS no", "NOPERM no", "LOADING wait", "NOPROTO"])}\r\n`),
    () => Buffer.from(`$5\r\nhello\r\n`),
    () => Buffer.from("*2\r\n:1\r\n*-1\r\n"),
    () => Buffer.from("|1\r\n+a\r\n:1\r\n%1\r\n+k\r\n_\r\n"),
    () => Buffer.from(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
    () =>
      Buffer.from(`%3\r\n$5\r\nproto\r\n:${by.pick([2, 3])}\r\n$2\r\nid\r\n:9\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n`),
    () => noise(by),
  ])();

test("login survives 20,000 messages of a hostile server, and lets nobody in without its HELLO or OK", async () => {
  const by = chanceOf(seed + 1);
  let messages = 0;
  let entered = 0;
  while (messages < 20_000) {
    const stage = upstreamTo(({ theirs }) => {
      let steps = 0;
      theirs.on("data", () => {
        if (++steps > 6) return void theirs.destroy();
        messages++;
        const whole = answer(by);
        for (const piece of cut(by, by.below(6) === 0 ? broken(by, whole) : whole)) theirs.write(piece);
        if (by.below(3) === 0) theirs.end();
      });
    }, clear("ada"));
    const version = by.pick([2, 3] as const);
    const login = redis.login(stage.upstream, grantFor(), { version }).catch((thrown: unknown) => thrown);
    for (let left = 4; left > 0; left--) await turn();
    // a server that says nothing more is the caller's deadline to end
    const deadline = setTimeout(() => stage.dialled[0]?.ours.destroy(), 5);
    const found = await timely("login", login);
    clearTimeout(deadline);
    if (found instanceof Failure) expect(found.code, `${found.message}, seed ${seed}`).not.toBe("internal");
    else {
      entered++;
      expect(found).toMatchObject({ user: "reader", node: { version } });
    }
    stage.dialled[0]?.ours.destroy();
  }
  expect(entered).toBeGreaterThan(0);
  await turn();
  expect(unseen).toEqual([]);
});

const refusedNames = ["MONITOR", "CONFIG", "DEBUG", "SHUTDOWN", "REPLICAOF", "MIGRATE", "ACL", "EVAL"];
const command = (by: Chance, at: number): { readonly bytes: Buffer; readonly answered: string } => {
  const value = `v${at}`;
  return by.pick([
    () => ({ bytes: said("GET", value), answered: value }),
    () => ({ bytes: Buffer.from(`get ${value}\r\n`), answered: value }),
    () => ({ bytes: said("SET", value, Buffer.alloc(by.pick([1, 300, 70_000]), "x")), answered: value }),
    () => ({
      bytes: said(
        by.pick(refusedNames),
        by.pick(["SETUSER", "x", "RESETSTAT"]),
        by.below(20) === 0 ? Buffer.alloc(70_000) : "y",
      ),
      answered: "refused",
    }),
    () => ({ bytes: said("AUTH", "ada", "x"), answered: "OK" }),
    () => ({ bytes: said("AUTH", "bob", "x"), answered: "refused" }),
  ])();
};

/** Answers each command with its first argument; keeps what it was asked. */
const honest = (heard: () => Buffer, write: (bytes: Buffer) => void, by: Chance) => {
  let at = 0;
  const names: string[] = [];
  const read = (): void => {
    const bytes = heard();
    for (;;) {
      let place = at;
      const number = (): number => {
        const end = bytes.indexOf("\r\n", place);
        if (end < 0) return -1;
        const value = Number(bytes.toString("latin1", place + 1, end));
        place = end + 2;
        return value;
      };
      const words: Buffer[] = [];
      let left = number();
      if (left < 0) return;
      for (; left > 0; left--) {
        const length = number();
        if (length < 0 || place + length + 2 > bytes.length) return;
        words.push(bytes.subarray(place, place + length));
        place += length + 2;
      }
      at = place;
      names.push(String(words[0]).toUpperCase());
      const said = words[1] ?? Buffer.alloc(0);
      if (by.below(8) === 0) write(Buffer.from(">2\r\n+invalidate\r\n_\r\n"));
      for (const piece of cut(by, Buffer.from(`$${said.length}\r\n${said.toString("latin1")}\r\n`, "latin1")))
        write(piece);
    }
  };
  return { read, names };
};
const settle = async (done: () => boolean): Promise<void> => {
  for (let left = 5_000; left > 0 && !done(); left--) await turn();
};

test("relay takes 25,000 commands, answers each in its order and passes none that it refuses", async () => {
  const by = chanceOf(seed + 2);
  for (let count = 0; count < 25_000; ) {
    const [client, server, seen] = [link(), link(), session()];
    const guard = (one: object) => ("use" in one || "user" in one ? deny(one as never) : undefined);
    const made = serverOn(server, { version: 3 });
    const done = timely(
      "relay",
      redis.relay({ socket: client.ours, pending: undefined }, made, { ...seen.live, guard }),
    );
    const peer = honest(server.received, (bytes) => void server.theirs.write(bytes), by);
    server.theirs.on("data", peer.read);
    const asked = Array.from({ length: 2 + by.below(60) }, (_, at) => command(by, at));
    count += asked.length;
    for (const piece of cut(by, Buffer.concat(asked.map(({ bytes }) => bytes)))) {
      client.theirs.write(piece);
      if (by.below(5) === 0) await turn();
    }
    const answers = (): readonly string[] =>
      client
        .received()
        .toString("latin1")
        .replaceAll(">2\r\n+invalidate\r\n_\r\n", "")
        .split(/(?:\$\d+\r\n)/)
        .flatMap((part) => part.split("\r\n"))
        .filter((line) => line !== "")
        .map((line) => (line.startsWith("-NOPERM") ? "refused" : line.replace(/^\+/, "")));
    // an answer comes in pieces
    const whole = (): boolean => client.received().toString("latin1", client.received().length - 2) === "\r\n";
    await settle(() => whole() && answers().length >= asked.length);
    expect(answers(), `seed ${seed}`).toEqual(asked.map(({ answered }) => answered));
    for (const name of peer.names) expect(["GET", "SET"]).toContain(name);
    client.theirs.end();
    await done;
  }
  await turn();
  expect(unseen).toEqual([]);
});

test("relay survives 25,000 messages that are not right, from both sides at once", async () => {
  const by = chanceOf(seed + 3);
  for (let count = 0; count < 25_000; ) {
    const [client, server, seen] = [link(), link(), session()];
    const made = serverOn(server, { version: by.pick([2, 3] as const) });
    const done = timely("relay", redis.relay({ socket: client.ours, pending: undefined }, made, seen.live));
    for (let left = 2 + by.below(20); left > 0; left--) {
      count += 2;
      const odd = by.pick([
        () =>
          said(
            by.pick(["MULTI", "EXEC", "DISCARD", "RESET", "SUBSCRIBE", "UNSUBSCRIBE", "QUIT"]),
            ...by.pick([[], ["a"]]),
          ),
        () => said("CLIENT", "REPLY", by.pick(["ON", "OFF", "SKIP", "x"])),
        () => said("AUTH", by.pick(["ada", "bob"]), "x"),
        () => said("HELLO", by.pick(["2", "3"])),
        () => command(by, left).bytes,
        () => noise(by),
      ])();
      for (const piece of cut(by, by.below(6) === 0 ? broken(by, odd) : odd)) client.theirs.write(piece);
      const back = answer(by);
      if (by.below(3) > 0) await turn();
      for (const piece of cut(by, by.below(6) === 0 ? broken(by, back) : back)) server.theirs.write(piece);
      if (by.below(3) === 0) await turn();
    }
    if (by.below(2) === 0) seen.end(new Failure("ended", "over"));
    client.theirs.end();
    server.theirs.end();
    await turn();
    client.theirs.destroy();
    server.theirs.destroy();
    const { failure } = await done;
    if (failure) expect(failure.code, `${failure.message}, seed ${seed}`).not.toBe("internal");
    for (const bad of ["MONITOR", "SHUTDOWN", "MIGRATE"])
      expect(server.received().includes(`\r\n${bad}\r\n`), `${bad}, seed ${seed}`).toBe(false);
    expect(JSON.stringify(seen.lines())).not.toContain(password.password.reveal());
  }
  await turn();
  expect(unseen).toEqual([]);
});
