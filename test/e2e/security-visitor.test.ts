// Visitors who dawdle or vanish: nobody else waits for them, and whatever they held is given back.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { Client } from "@sallyport/client/client";
import { describe, expect, it } from "vitest";
import { dial, sslRequest, startup } from "../local/postgres-bytes.ts";
import { type Door, dialGate, dialSecure, enter, eventually, heard, type Session, within } from "./attack.ts";
import { say } from "./clients/raw.ts";
import { roleOf } from "./owner.ts";
import { besiege } from "./siege.ts";

const { world, table, proxy, plain, gatePort, issue, backends } = besiege();
const endSleepers = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'";

it("S-22 who dawdles at any stage is dropped in its time, and everybody else is served meanwhile", async () => {
  const { answer, door } = await issue();
  const asking = await issue();
  const stages: [limit: number, open: () => Promise<Socket>][] = [
    [10_000, () => dial(plain())],
    [10_000, () => cut(plain(), sslRequest.subarray(0, 5))],
    [10_000, () => cut(plain(), sslRequest)],
    [10_000, () => cut(plain(), Buffer.from("160301020001", "hex"))],
    [10_000, async () => dialSecure(door)],
    [10_000, async () => write(await dialSecure(door), startup(0x30000, "user", "reader").subarray(0, 12))],
    [10_000, async () => write(await dialSecure(door), startup(0x30000, "user", "reader", "database", "orders"))],
    [10_000, async () => drip(await dialSecure(door))],
    [5_000, () => dial(gatePort())],
    [5_000, () => cut(gatePort(), Buffer.from("160301020001", "hex"))],
    [5_000, () => dialGate(world().laptop, door.ca, gatePort().port)],
    [5_000, async () => write(await dialGate(world().laptop, door.ca, gatePort().port), Buffer.from([0, 200, 123]))],
  ];
  const cut = async (where: { host: string; port: number }, bytes: Buffer) => write(await dial(where), bytes);
  const write = (socket: Socket, bytes: Buffer): Socket => {
    socket.write(bytes);
    return socket;
  };
  const drip = (socket: Socket): Socket => {
    const bytes = startup(0x30000, "user", "reader", "database", "orders", "application_name", "drop by drop");
    let at = 0;
    const timer = setInterval(() => void socket.write(bytes.subarray(at, ++at)), 400);
    socket.once("close", () => clearInterval(timer));
    return socket;
  };
  const dropped = Promise.all(
    stages.flatMap(([limit, open]) =>
      Array.from({ length: 5 }, async () => {
        const since = performance.now();
        const socket = await open();
        await within(limit + 3_500, "being dropped", heard(socket));
        expect(performance.now() - since).toBeGreaterThan(limit - 500);
      }),
    ),
  );
  const watcher = await enter(asking.door);
  for (let round = 0; round < 10; round++) {
    const since = performance.now();
    const session = await enter(door);
    expect(await session.query("select 1")).toEqual(["1"]);
    expect(await watcher.query("select 2")).toEqual(["2"]);
    session.close();
    expect(performance.now() - since).toBeLessThan(2_500);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  await dropped;
  watcher.close();
  expect((await table().spent(answer.id)).logins).toBe(10);
});

describe("S-37 a client that is reset", () => {
  const states: [string, (door: Door) => Promise<Socket>][] = [
    ["before its first byte", (door) => dial(door)],
    [
      "behind its SSLRequest",
      async (door) => {
        const socket = await dial(door);
        socket.write(sslRequest);
        await once(socket, "data");
        return socket;
      },
    ],
    [
      "in the TLS handshake",
      async (door) => {
        const socket = await dial(door);
        socket.write(sslRequest);
        await once(socket, "data");
        socket.write(Buffer.from("1603010200010001fc0303", "hex"));
        return socket;
      },
    ],
    ["before its startup", (door) => dialSecure(door)],
    [
      "when asked for the password",
      async (door) => {
        const socket = await dialSecure(door);
        socket.write(startup(0x30000, "user", door.user, "database", door.database));
        await once(socket, "data");
        return socket;
      },
    ],
    [
      "behind its password",
      async (door) => {
        const socket = await dialSecure(door);
        socket.write(startup(0x30000, "user", door.user, "database", door.database));
        await once(socket, "data");
        socket.write(say("p", door.password));
        return socket;
      },
    ],
    [
      "behind its password, a moment later",
      async (door) => {
        const socket = await dialSecure(door);
        socket.write(startup(0x30000, "user", door.user, "database", door.database));
        await once(socket, "data");
        socket.write(say("p", door.password));
        await new Promise((resolve) => setTimeout(resolve, 12));
        return socket;
      },
    ],
    ["when idle", async (door) => (await enter(door)).socket],
    [
      "in a query",
      async (door) => {
        const session = await enter(door);
        session.send(say("Q", "select pg_sleep(30)"));
        await eventually("at work", async () => (await backends()) > 0);
        return session.socket;
      },
    ],
    [
      "in a result that it does not read",
      async (door) => {
        const session: Session = await enter(door);
        session.send(say("Q", "select repeat('x', 1000) from generate_series(1, 100000)"));
        await session.next();
        session.socket.pause();
        return session.socket;
      },
    ],
    [
      "in a message of its own",
      async (door) => {
        const session = await enter(door);
        session.send(Buffer.from("51000f424073656c656374", "hex"));
        return session.socket;
      },
    ],
  ];
  /** A wire to the proxy that can be torn: what it sees then is a reset. */
  const openWire = async () => {
    const far = new Set<Socket>();
    const server = createServer((near) => {
      const socket = connect({ ...plain(), noDelay: true });
      far.add(socket);
      near.on("error", () => {}).on("close", () => socket.destroy());
      socket.on("error", () => {}).on("close", () => near.destroy());
      near.pipe(socket).pipe(near);
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return {
      port: typeof address === "object" && address ? address.port : 0,
      tear: () => {
        for (const socket of far) socket.resetAndDestroy();
        server.close();
      },
    };
  };

  it.each(states)("S-37 %s gives back everything it held", async (_, arrive) => {
    const eve = await counted();
    const { answer, door } = await issue(eve);
    const wire = await openWire();
    const socket = await within(8_000, "arriving", arrive({ ...door, port: wire.port }));
    wire.tear();
    socket.on("error", () => {}).destroy();
    await eventually("counts", async () => {
      const { live } = await table().spent(answer.id);
      const sessions = await table().sessions(answer.id);
      const limit = await table().store.get({ pk: "limit#eve", sk: "orders-rds-eu-west-1-111122223333" });
      return live === 0 && Number(limit?.["live"] ?? 0) === 0 && sessions.every((item) => item["state"] === "ended");
    });
    // PostgreSQL itself finishes what it was asked, whoever has left; nothing else stays
    await world().servers[0]?.sql("postgres", endSleepers);
    await eventually("no backend", async () => (await backends()) === 0);
    // the only place there is can be taken again
    const again = await enter((await issue(eve)).door);
    expect(await again.query("select 1")).toEqual(["1"]);
    again.close();
    await eventually("no backend", async () => (await backends()) === 0);
  });

  let one: Promise<Client> | undefined;
  const counted = (): Promise<Client> => {
    one ??= (async () => {
      await world().put(roleOf("single", { max_connections: 1 }));
      return world().person("eve", ["single"]);
    })();
    return one;
  };
});

it("after all of it the proxy has nothing to complain of", () => {
  const complaints = proxy()
    .log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"|Warning|at file:/.test(line));
  expect(complaints).toEqual([]);
});
