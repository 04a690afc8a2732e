// The protocol with a stock client on one side and a real redis-server on the other, by both ways in.
import { expect, test } from "vitest";
import { connect, connectToken, linesOf, openDoor, stage } from "./house.ts";

stage();

for (const way of ["plain", "gate"] as const) {
  test(`by the ${way} way a client logs in and works`, async () => {
    const door = await openDoor(way);
    const client = connect(door, way);
    expect(await client.set("k", "v")).toBe("OK");
    expect(await client.get("k")).toBe("v");
    expect(await client.acl("WHOAMI")).toBe("ada");
    const many = client.pipeline();
    for (let at = 0; at < 2_000; at++) many.incr("n");
    expect((await many.exec())?.at(-1)).toEqual([null, 2_000]);
    expect(await client.multi().set("a", "1").get("a").exec()).toEqual([
      [null, "OK"],
      [null, "1"],
    ]);
    await client.quit();
    expect(JSON.stringify(linesOf(door))).not.toContain(connectToken);
    expect(linesOf(door)).toContainEqual({ type: "command", command: "set", args: ["k", "v"] });
  });

  test(`by the ${way} way refused commands answer in their place`, async () => {
    const door = await openDoor(way);
    const client = connect(door, way);
    const said = await client
      .pipeline()
      .set("k", "v")
      .config("GET", "maxmemory")
      .get("k")
      .call("MONITOR")
      .get("k")
      .exec();
    expect(said?.map(([error, value]) => error?.message ?? value)).toEqual([
      "OK",
      expect.stringContaining("NOPERM CONFIG is not allowed"),
      "v",
      expect.stringContaining("NOPERM MONITOR is not allowed"),
      "v",
    ]);
  });
}
