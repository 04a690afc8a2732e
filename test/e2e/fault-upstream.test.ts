// Databases that are down, slow, false or malicious, each an instance of its own behind a real proxy: the client hears why and
// what to do, in its own protocol, in time; nothing secret is sent to what is not the database; everything is given back.
import type { Client } from "@sallyport/client/client";
import type { ConnectAnswer } from "@sallyport/core/api";
import { authentication, type Fault } from "@sallyport/local/postgres/fault";
import type { Front } from "@sallyport/local/postgres/front";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { message } from "../local/postgres-bytes.ts";
import { type Door, doorOf, enter, eventually, refused, within } from "./attack.ts";
import { say } from "./clients/raw.ts";
import { openOwnTable, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

interface Case {
  readonly fault: () => Fault | Promise<Fault>;
  readonly code: string;
  readonly message: RegExp;
  readonly hint: RegExp;
  /** What the database may have been sent before its login was answered: nothing but the SSLRequest. */
  readonly unspoken?: true;
}

let world: World;
let table: Table;
let ana: Client;

const host = (title: string): string => `${idOf(title)}.${suffix}`;
let suffix = "";

/** Errors of a server's that are not as they should be. */
const error = (...fields: readonly string[]): Buffer =>
  message("E", `${fields.map((field) => `${field}\0`).join("")}\0`);
const notice = message("N", `SNOTICE\0M${"x".repeat(1000)}\0\0`);
const sasl = Buffer.from("SCRAM-SHA-256\0\0");
const day = 86_400_000;

const cases: Readonly<Record<string, Case>> = {
  "S-34 nobody listens": {
    fault: () => ({ is: "refusing" }),
    code: "08006",
    message: /: nothing listens on 127\.0\.\d+\.\d+ port \d+$/,
    hint: /stopped, starting or failing over/,
  },
  "S-34 plaintext only": {
    fault: () => ({ is: "plaintext" }),
    code: "08006",
    message: /^the database does not offer TLS$/,
    hint: /turn rds\.force_ssl on/,
    unspoken: true,
  },
  "S-20 bytes behind the answer to SSLRequest": {
    fault: () => ({ is: "smuggling", bytes: Buffer.concat([authentication(0), message("Z", "I")]) }),
    code: "08006",
    message: /^the database sent bytes before TLS$/,
    hint: /^/,
    unspoken: true,
  },
  "S-34 a certificate for another name": {
    fault: async () => ({ is: "impostor", identity: await world.laptop.rdsAuthority.issue(["evil.example"]) }),
    code: "08006",
    message: /: its certificate is not for .*rds\.amazonaws\.com$/,
    hint: /something else answers at this address/,
  },
  "S-34 a certificate of another authority": {
    fault: async () => ({
      is: "impostor",
      identity: await world.laptop.authority.issue([host("S-34 a certificate of another authority")]),
    }),
    code: "08006",
    message: /: its certificate is not from an authority of AWS$/,
    hint: /something else may answer at this address/,
  },
  "S-34 a certificate that has expired": {
    fault: async () => {
      const lifetime = { notBeforeAt: Date.now() - 3 * day, notAfterAt: Date.now() - day };
      return {
        is: "impostor",
        identity: await world.laptop.rdsAuthority.issue([host("S-34 a certificate that has expired")], lifetime),
      };
    },
    code: "08006",
    message: /: its certificate, or the authority that signed it, has expired$/,
    hint: /rotate it to rds-ca-rsa2048-g1/,
  },
  "S-33 garbage for an answer to SSLRequest": {
    fault: () => ({ is: "garbage", at: "negotiation", bytes: Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") }),
    code: "08006",
    message: /^the database does not offer TLS$/,
    hint: /^/,
    unspoken: true,
  },
  "S-33 an error for an answer to SSLRequest": {
    fault: () => ({ is: "garbage", at: "negotiation", bytes: error("SFATAL", "C00000", "Mtrust me") }),
    code: "08006",
    message: /^the database does not offer TLS$/,
    hint: /^/,
    unspoken: true,
  },
  "S-33 garbage for a login": {
    fault: () => ({ is: "garbage", at: "login", bytes: Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") }),
    code: "28000",
    message: /^the database answered with /,
    hint: /does not speak as PostgreSQL does/,
  },
  "S-33 a length of 2³¹−1 in the login": {
    fault: () => ({ is: "garbage", at: "login", bytes: Buffer.from("527fffffff00000000", "hex") }),
    code: "28000",
    message: /a message of an invalid length/,
    hint: /^/,
  },
  "S-33 an error without an SQLSTATE": {
    fault: () => ({ is: "garbage", at: "login", bytes: error("SFATAL", "Mno room today") }),
    code: "28000",
    message: /^no room today$/,
    hint: /^/,
  },
  "S-33 an error without anything": {
    fault: () => ({ is: "garbage", at: "login", bytes: message("E", "") }),
    code: "28000",
    message: /^the database refused without a reason$/,
    hint: /^/,
  },
  "S-33 an error with an SQLSTATE that asks for another password": {
    fault: () => ({ is: "garbage", at: "login", bytes: error("SFATAL", "C28P01", "Mtype it again") }),
    code: "28000",
    message: /^type it again$/,
    hint: /^the proxy needs rds-db:connect for reader/,
  },
  "S-33 a welcome without any login": {
    fault: () => ({ is: "garbage", at: "login", bytes: Buffer.concat([message("S", "a\0b\0"), message("Z", "I")]) }),
    code: "28000",
    message: /^the database answered with message "S" during the login$/,
    hint: /^/,
  },
  "S-33 endless notices": {
    fault: () => ({ is: "garbage", at: "login", bytes: Buffer.concat(Array<Buffer>(200).fill(notice)) }),
    code: "28000",
    message: /a message of an invalid length, or too many of them$/,
    hint: /^/,
  },
  "S-33 asks for MD5": {
    fault: () => ({ is: "asking", bytes: authentication(5, Buffer.from("salt")) }),
    code: "28000",
    message: /^the database asks for an MD5 hash, which is not what it should$/,
    hint: /grant rds_iam/,
  },
  "S-33 asks for SCRAM": {
    fault: () => ({ is: "asking", bytes: authentication(10, sasl) }),
    code: "28000",
    message: /^the database asks for SCRAM, which is not what it should$/,
    hint: /grant rds_iam/,
  },
  "S-33 asks for GSSAPI": {
    fault: () => ({ is: "asking", bytes: authentication(7) }),
    code: "28000",
    message: /^the database asks for GSSAPI$/,
    hint: /log in with an IAM token/,
  },
  "S-33 asks for a method nobody knows": {
    fault: () => ({ is: "asking", bytes: authentication(99) }),
    code: "28000",
    message: /^the database asks for login method 99$/,
    hint: /^/,
  },
};
const slow: Readonly<Record<string, Case>> = {
  "S-33 asks for the token and hangs up on it": {
    fault: () => ({ is: "asking", bytes: authentication(3) }),
    code: "08006",
    message: /^the database closed the connection too early$/,
    hint: /^/,
  },
  "S-33 accepts and never answers": {
    fault: () => ({ is: "hanging", at: "connection" }),
    code: "57014",
    message: /^the login at the database took longer than 30 s$/,
    hint: /^/,
  },
  "S-33 never answers the startup": {
    fault: () => ({ is: "hanging", at: "login" }),
    code: "57014",
    message: /^the login at the database took longer than 30 s$/,
    hint: /^/,
  },
};
const idOf = (title: string): string => {
  const at = Object.keys({ ...cases, ...slow }).indexOf(title);
  return `case-${at}`;
};

const fronts = new Map<string, Front>();
const add = async (id: string): Promise<void> => {
  const [server] = world.servers;
  if (!server) throw new Error("a world has a server");
  const { record, front } = await world.laptop.databases.addInstance({ id, tags: { env: "dev" } }, server);
  fronts.set(id, front);
  suffix = record.Endpoint?.Address?.slice(id.length + 1) ?? "";
};
const frontOf = (id: string): Front => {
  const front = fronts.get(id);
  if (!front) throw new Error(`no front ${id}`);
  return front;
};

const issue = async (database: string): Promise<{ answer: ConnectAnswer; door: Door }> => {
  const answer = await world.bearer(ana, { database });
  return { answer, door: doorOf(world.laptop, answer) };
};
const ended = async ({ id }: ConnectAnswer): Promise<string> => {
  await eventually("its end is written", async () => {
    const sessions = await table.sessions(id);
    return (await table.spent(id)).live === 0 && sessions.every((item) => item["state"] === "ended");
  });
  const [item] = await table.sessions(id);
  return String(item?.["reason"]);
};
const suffer = async (title: string, { fault, code, message: words, hint, unspoken }: Case): Promise<void> => {
  const id = idOf(title);
  const front = frontOf(id);
  const { answer, door } = await issue(id);
  await front.misbehave(await fault());
  const ending = await refused(door);
  expect(ending.code).toBe(code);
  expect(ending.message).toMatch(words);
  expect(ending.hint).toMatch(hint);
  if (unspoken) expect(front.counters().bytesBeforeLogin).toBe(8);
  expect(front.counters()).toMatchObject({ earlyBytes: 0, admitted: 0 });
  expect(await ended(answer)).toMatch(/^(upstream_|timeout: )/);
  // well again, it serves
  await front.misbehave();
  const session = await enter(door);
  expect(await session.query("select current_user")).toEqual(["reader"]);
  session.close();
};

let slowOnes: Promise<PromiseSettledResult<void>[]>;
beforeAll(async () => {
  world = await openWorld();
  table = openOwnTable(world.laptop);
  for (const title of [...Object.keys(cases), ...Object.keys(slow)]) await add(idOf(title));
  for (const id of ["cut", "torn", "gone", "forbidden"]) await add(id);
  await world.discover();
  ana = await world.person("ana", ["dev"]);
  // each waits half a minute: all of them at once, and beside the others
  slowOnes = Promise.allSettled(Object.entries(slow).map(([title, one]) => suffer(title, one)));
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

describe("a database that", () => {
  it.each(Object.entries(cases))("%s: is said to the client, and given back", suffer);

  it("S-33 cuts a session in the middle of a message ends it without a made-up one", async () => {
    await frontOf("cut").misbehave({ is: "cutting", afterBytes: 5_000 });
    const { answer, door } = await issue("cut");
    const session = await enter(door);
    session.send(say("Q", "select repeat('x', 100) from generate_series(1, 1000)"));
    expect(await within(6_000, "the end", session.ending())).toMatchObject({
      code: expect.stringMatching(/^(closed|08006)$/),
    });
    expect(await ended(answer)).toMatch(/^upstream_unreachable: the database closed the connection/);
  });

  it("vanishes in a query is said with 08006 at once", async () => {
    const { answer, door } = await issue("torn");
    const session = await enter(door);
    session.send(say("Q", "select pg_sleep(20)"));
    await eventually("at work", async () => {
      const rows = await world.servers[0]?.sql(
        "postgres",
        "select 1 from pg_stat_activity where query = 'select pg_sleep(20)' and state = 'active' and usename = 'reader'",
      );
      return (rows?.length ?? 0) > 0;
    });
    expect(frontOf("torn").cut()).toBe(1);
    expect(await within(3_000, "the end", session.ending())).toMatchObject({
      code: "08006",
      message: "the database closed the connection",
      hint: "connect again; the database or its network may have failed",
    });
    expect(await ended(answer)).toMatch(/^upstream_unreachable/);
  });

  it("ends a session itself is passed on in its own words", async () => {
    const { answer, door } = await issue("gone");
    const session = await enter(door);
    await world.servers[0]?.sql("postgres", `select pg_terminate_backend(${session.pid})`);
    expect(await within(3_000, "the end", session.ending())).toMatchObject({
      code: "57P01",
      message: "terminating connection due to administrator command",
    });
    expect(await ended(answer)).toBe("server");
  });

  it("AWS does not let the proxy in to is refused with the permission to add, and let in once it is there", async () => {
    const { account } = world.laptop;
    const role = account.role("sallyport-proxy");
    if (!role) throw new Error("the proxies have a role");
    const { door } = await issue("forbidden");
    account.attach(
      role.arn,
      role.statements.filter(({ actions }) => !actions.includes("rds-db:connect")),
    );
    try {
      const ending = await refused(door);
      expect(ending).toEqual({
        code: "28000",
        message: 'PAM authentication failed for user "reader"',
        hint: "the proxy needs rds-db:connect for reader, and in the database: grant rds_iam to that user; and a clock that is right",
      });
    } finally {
      account.attach(role.arn, role.statements);
    }
    expect(frontOf("forbidden").counters()).toMatchObject({ refused: 1, admitted: 0 });
    const session = await enter(door);
    expect(await session.query("select current_user")).toEqual(["reader"]);
    session.close();
  });

  it.each(Object.keys(slow).map((title, at) => [title, at] as const))(
    "%s: is said after its deadline",
    async (_, at) => {
      const outcome = (await slowOnes)[at];
      if (outcome?.status === "rejected") throw outcome.reason;
      expect(outcome?.status).toBe("fulfilled");
    },
    50_000,
  );

  it("has its secrets kept: no token of ours or of IAM is in the proxy's log, and nothing in it is our mistake", () => {
    const log = world.proxies[0]?.log() ?? "";
    expect(log).not.toMatch(/X-Amz-Signature|X-Amz-Security-Token|sly_c_/);
    expect(log.split("\n").filter((line) => line.includes('"level":"ERROR"'))).toEqual([]);
  });
});
