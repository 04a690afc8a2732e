// What one session may make a relay hold, and how long it may keep it busy, whatever a client asks.
import { parseKill } from "@sallyport/wire/mysql/kill";
import { openSession } from "@sallyport/wire/mysql/session";
import { expect, test } from "vitest";
import { column, eof, err, ok, packet, query, u16, u32, usual } from "./bytes.ts";
import { stand, turns } from "./stand.ts";

const ping = packet(0, 0x0e);

test("S-36 who asks and does not read the refusals waits, and gets them all", async () => {
  const { client, seen } = stand({ gather: false });
  const refused = packet(0, 0x12);
  const one = 4_000;
  client.theirs.write(Buffer.concat(Array.from({ length: one }, () => refused)));
  await turns(2_000);
  const before = seen.statements.length;
  expect(before).toBeLessThan(one / 2);
  let heard = 0;
  client.theirs.on("data", (bytes: Buffer) => {
    heard += bytes.length;
  });
  while (seen.statements.length < one) await turns(10);
  await turns(50);
  expect(heard).toBeGreaterThan(one * 20);
  client.ours.destroy();
});

test("S-36 commands whose answers do not come are not taken in without end", async () => {
  const { client, server, done } = stand();
  const all = 100_000;
  const hurry = (async () => {
    for (let sent = 0; sent < all; sent += 1_000) {
      const bytes = Buffer.concat(Array.from({ length: 1_000 }, () => ping));
      if (!client.theirs.write(bytes)) await new Promise((resolve) => client.theirs.once("drain", resolve));
    }
  })();
  await turns(500);
  const passed = (): number => server.received().length / ping.length;
  expect(passed()).toBeLessThan(all / 2);
  for (let answered = 0; answered < all; ) {
    const open = Math.floor(passed()) - answered;
    if (open > 0) server.theirs.write(Buffer.concat(Array.from({ length: open }, () => ok(1))));
    answered += open;
    await turns(2);
  }
  await hurry;
  expect(passed()).toBe(all);
  client.theirs.end(packet(0, 1));
  await server.ended();
  expect(await done).toMatchObject({ by: "client" });
});

test("S-36 parameters sent ahead cost the same, however many there are", async () => {
  const { client, server } = stand();
  client.theirs.write(packet(0, 0x16, "x"));
  server.theirs.write(packet(1, 0, u32(5), u16(0), u16(0xffff), 0, u16(0)));
  await turns();
  const some = Buffer.concat(Array.from({ length: 20_000 }, (_, at) => packet(0, 0x18, u32(5), u16(at), "x")));
  const began = process.cpuUsage();
  client.theirs.write(some);
  while (server.received().length < some.length) await turns(10);
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1_000).toBeLessThan(5_000);
  client.ours.destroy();
});

test("S-36 a KILL of blanks costs no more than another", () => {
  const began = process.cpuUsage();
  for (const blank of [" ", "/**/", "# \n", "-- \n", "/*", "-- "])
    expect(parseKill(`KILL${blank.repeat(1_000)}x`.slice(0, 1_024))).toBeUndefined();
  expect(process.cpuUsage(began).user / 1_000).toBeLessThan(500);
});

test("S-36 the parameters of all statements together are bounded; what is closed counts no more", () => {
  const session = openSession({ flags: usual, extended: 0 }, undefined);
  const keep = (id: number): void => {
    const prepared = session.prepare();
    prepared.parameters = 0xffff;
    session.keep(id, prepared);
  };
  for (let id = 0; id < 1_000; id++) {
    keep(id);
    session.forget(id);
  }
  expect(() => {
    for (let id = 0; id < 1_000; id++) keep(id);
  }).toThrow(/parameters/);
});

test("COM_RESET_CONNECTION leaves no statement behind: 70,000 of a pool that resets are no reason to end", async () => {
  const { client, server, seen } = stand({ live: { record: () => undefined } });
  const [prepare, reset] = [packet(0, 0x16, "do 1"), packet(0, 0x1f)];
  const prepared = (id: number): Buffer => packet(1, 0, u32(id), u16(0), u16(0), 0, u16(0));
  for (let id = 1; id < 70_000; id += 100) {
    client.theirs.write(Buffer.concat(Array.from({ length: 100 }, () => [prepare, reset]).flat()));
    await turns(2);
    server.theirs.write(Buffer.concat(Array.from({ length: 100 }, (_, at) => [prepared(id + at), ok(1)]).flat()));
    await turns(2);
  }
  client.theirs.write(query("select 1"));
  await turns();
  expect(server.received().subarray(-13)).toEqual(query("select 1"));
  expect(seen.live.ended.aborted).toBe(false);
  client.ours.destroy();
});

test("S-30 COM_PROCESS_KILL is told of also where the server carries it out", async () => {
  const { client, server, seen } = stand();
  client.theirs.write(packet(0, 0x0c, u32(77)));
  await server.until((bytes) => bytes.length > 0);
  expect(seen.lines()).toEqual([{ type: "kill", what: "connection", connection: 77 }]);
  client.ours.destroy();
});

test("S-40 a syntax error's line does not quote the statement, passwords and all", async () => {
  const { client, server, seen } = stand();
  client.theirs.write(query("creat user a identified by 'canary'"));
  server.theirs.write(err(1, 1064, "42000", "You have an error near 'creat user a identified by 'canary'' at line 1"));
  await turns();
  expect(JSON.stringify(seen.lines())).not.toContain("canary");
  expect(seen.lines()[1]).toMatchObject({ errno: 1064, message: "You have an error near '…' at line 1" });
  client.ours.destroy();
});

test("S-30 what was sent ahead is told as what is bound, though the nulls say otherwise", async () => {
  const { client, server, seen } = stand();
  client.theirs.write(packet(0, 0x16, "select ?"));
  server.theirs.write(Buffer.concat([packet(1, 0, u32(5), u16(0), u16(1), 0, u16(0)), column(2, "?"), eof(3)]));
  await turns();
  client.theirs.write(Buffer.concat([packet(0, 0x18, u32(5), u16(0), "abc")]));
  client.theirs.write(packet(0, 0x17, u32(5), 0, u32(1), 1, 1, u16(0xfd)));
  await turns();
  expect(seen.lines().at(-1)).toMatchObject({ type: "execute", values: [{ long: true }] });
  client.ours.destroy();
});
