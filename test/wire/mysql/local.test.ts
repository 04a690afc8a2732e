// What does not simply pass a relay: commands that are answered here, and files that a server asks the client for.
import { describe, expect, test } from "vitest";
import { errorOf, ok, packet, packets, query, result, u32 } from "./bytes.ts";
import { stand, turns } from "./stand.ts";

describe("commands that stay here", () => {
  test.each([
    [0x11, "change_user", 1235],
    [0x12, "binlog_dump", 1235],
    [0x1e, "binlog_dump_gtid", 1235],
    [0x15, "register_slave", 1235],
    [0x08, "shutdown", 1235],
    [0xfa, "0xfa", 1047],
    [0x77, "0x77", 1047],
  ])("S-05 S-26 command 0x%s is refused as %s, and the connection goes on", async (type, name, errno) => {
    const { client, server, seen } = stand();
    client.theirs.write(Buffer.concat([packet(0, type, "grace\0\0orders\0"), query("select 1")]));
    await server.until((bytes) => bytes.length > 0);
    await turns();
    expect(server.received()).toEqual(query("select 1"));
    expect(errorOf(client.received())).toMatchObject({ sequence: 1, errno });
    expect(seen.lines()[0]).toEqual({ type: "refused", command: name });
    client.ours.destroy();
  });

  test("an answer of ours waits for all that was asked before, and holds what comes after", async () => {
    const { client, server } = stand();
    client.theirs.write(Buffer.concat([query("select 1"), packet(0, 0x11, "x\0"), query("select 2")]));
    await turns();
    expect([server.received(), client.received().length]).toEqual([query("select 1"), 0]);
    const answer = result(["a"]);
    server.theirs.write(answer.subarray(0, 9));
    await turns();
    server.theirs.write(answer.subarray(9));
    await server.until((bytes) => bytes.length > query("select 1").length);
    await turns();
    expect(client.received().subarray(0, answer.length)).toEqual(answer);
    expect(errorOf(client.received())?.errno).toBe(1235);
    expect(server.received()).toEqual(Buffer.concat([query("select 1"), query("select 2")]));
    client.ours.destroy();
  });

  test("one of many packets is dropped whole, and answered behind its last", async () => {
    const { client, server } = stand();
    client.theirs.write(packets(0, Buffer.concat([Buffer.of(0x77), Buffer.alloc(0xff_ffff)])));
    client.theirs.write(packet(0, 0x0e));
    await server.until((bytes) => bytes.length > 0);
    expect(server.received()).toEqual(packet(0, 0x0e));
    expect(errorOf(client.received())).toMatchObject({ sequence: 2, errno: 1047 });
    client.ours.destroy();
  });

  test.each([
    ["KILL QUERY 4000000001", "query 4000000001"],
    ["kill 4000000001", "connection 4000000001"],
    ["/* ApplicationName=x */ KILL CONNECTION 4000000001;", "connection 4000000001"],
    ["KILL /*!50000 QUERY */ 4000000001", "query 4000000001"],
    ["KILL HARD QUERY 4000000001", "query 4000000001"],
    ["KILL QUERY -294967295", "query 4000000001"],
  ])("%s is carried out here where ids are ours, audited, and never forwarded", async (text, key) => {
    const { client, server, seen } = stand({ connection: 0x8000_0001 });
    client.theirs.write(query(text));
    expect(await client.until((bytes) => bytes.length > 0)).toEqual(ok(1));
    expect([seen.cancelled, server.received().length]).toEqual([[key], 0]);
    expect(seen.lines()).toEqual([
      { type: "kill", what: key.split(" ")[0], connection: 4_000_000_001, answered: true },
    ]);
    client.ours.destroy();
  });

  test("COM_PROCESS_KILL of an id of ours ends that connection", async () => {
    const { client, seen } = stand({ connection: 0x8000_0001 });
    client.theirs.write(packet(0, 0x0c, u32(0x8000_0002)));
    await client.until((bytes) => bytes.length > 0);
    expect(seen.cancelled).toEqual([`connection ${0x8000_0002}`]);
    client.ours.destroy();
  });

  test.each([
    ["an id of the server's", "KILL QUERY 77", 0x8000_0001],
    ["an id through the gate", "KILL QUERY 4000000001", undefined],
    ["no KILL", "-- KILL QUERY 4000000001\nselect 1", 0x8000_0001],
    ["a KILL among others", "select 1; KILL QUERY 4000000001", 0x8000_0001],
  ])("%s goes to the server", async (_name, text, connection) => {
    const { client, server, seen } = stand(connection === undefined ? {} : { connection });
    client.theirs.write(query(text));
    expect(await server.until((bytes) => bytes.length > 0)).toEqual(query(text));
    expect(seen.cancelled).toEqual([]);
    client.ours.destroy();
  });
});

describe("S-31 files of the client's", () => {
  const load = query("load data local infile 'x' into table t");
  const ask = packet(1, 0xfb, "/etc/passwd");

  test("S-31 a server that asks for one unbidden ends the session, and the question does not arrive", async () => {
    for (const command of [load, query("select 1"), packet(0, 0x17, u32(1), 0, u32(1))]) {
      const { client, server, done } = stand();
      client.theirs.write(command);
      await server.until((bytes) => bytes.length > 0);
      server.theirs.write(ask);
      const heard = await client.ended();
      expect(heard.includes("/etc/passwd")).toBe(false);
      expect(errorOf(heard)).toMatchObject({ sequence: 1, errno: 1045 });
      expect(await done).toMatchObject({ by: "cut", failure: { code: "denied" } });
      expect(server.ours.destroyed).toBe(true);
    }
  });

  test("S-31 what is asked for is ruled on when it is asked, whatever the login allowed", async () => {
    const guard = () => ({
      denied: true as const,
      reasons: [{ code: "option" as const, text: "local files are not allowed" }],
    });
    const { client, server, done } = stand({ localFiles: true, live: { guard } });
    client.theirs.write(load);
    await server.until((bytes) => bytes.length > 0);
    server.theirs.write(ask);
    expect(errorOf(await client.ended())?.text).toContain("local files are not allowed");
    await done;
  });

  test("S-31 where they are allowed the file passes to its end, counted, and commands go on behind it", async () => {
    const { client, server, seen } = stand({ localFiles: true });
    client.theirs.write(load);
    await server.until((bytes) => bytes.length > 0);
    server.theirs.write(ask);
    await client.until((bytes) => bytes.length > 0);
    const file = Buffer.concat([packet(2, "1\n2\n"), packet(3, "\x03select"), packet(4)]);
    client.theirs.write(file);
    await server.until((bytes) => bytes.length >= load.length + file.length);
    server.theirs.write(ok(5, { affected: 3 }));
    await turns();
    client.theirs.write(query("select 1"));
    await turns();
    expect(server.received()).toEqual(Buffer.concat([load, file, query("select 1")]));
    expect(seen.lines().slice(1)).toEqual([
      { type: "local_file", name: "/etc/passwd" },
      { type: "complete", affected: 3, copied: 11 },
      { type: "query", database: "orders", text: "select 1" },
    ]);
    client.ours.destroy();
  });

  test("S-30 S-31 one that is asked for while other commands wait ends the session", async () => {
    const { client, server, done } = stand({ localFiles: true });
    client.theirs.write(Buffer.concat([load, query("drop table t")]));
    await server.until((bytes) => bytes.length > load.length);
    server.theirs.write(ask);
    expect(errorOf(await client.ended())?.errno).toBe(1043);
    await done;
  });
});
