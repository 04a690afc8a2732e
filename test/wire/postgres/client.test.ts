import { createHash } from "node:crypto";
import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import { postgres } from "@sallyport/wire/postgres/postgres";
import { describe, expect, test } from "vitest";
import { challenge, clear, failed, grantFor, int32, type Link, link, message, startupOf, upstreamTo } from "../door.ts";
import { startScramServer } from "../scram-server.ts";

type Step = (said: Buffer) => Buffer | "end" | "reset" | undefined;

/** A server that answers each packet of the client with the next step: SSLRequest, startup, then messages. */
const serve =
  (...steps: readonly Step[]) =>
  (made: Link): void => {
    let at = 0;
    let had = 0;
    made.theirs.on("data", () => {
      const step = steps[at++];
      const said = made.received().subarray(had);
      had = made.received().length;
      const answer = step?.(said);
      if (answer === "end") made.theirs.end();
      else if (answer === "reset") made.theirs.destroy();
      else if (answer) made.theirs.write(answer);
    });
  };
const tls: Step = () => Buffer.from("S");
const say =
  (...bytes: readonly Buffer[]): Step =>
  () =>
    Buffer.concat(bytes);
const ok = message("R", int32(0));
const parameter = message("S", "server_version\0", "18.4\0");
const key = message("K", int32(4711), Buffer.from("cafebabe", "hex"));
const ready = message("Z", "I");
const through = [ok, parameter, key, ready] as const;
const askClear = message("R", int32(3));
const askMd5 = message("R", int32(5), "salt");
const askScram = message("R", int32(10), "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");

const logIn = (credential: Credential, ...steps: readonly Step[]) => {
  const stage = upstreamTo(serve(tls, ...steps), credential);
  return { ...stage, done: postgres.login(stage.upstream, grantFor()) };
};
const sent = (dialled: readonly Link[]): Buffer => dialled[0]?.received() ?? Buffer.alloc(0);

describe("login", () => {
  test("sends an IAM token in clear inside TLS and keeps what the server says", async () => {
    const notice = message("N", "Mbe nice\0\0");
    const { done, dialled, log } = logIn(clear(), say(askClear), say(ok, parameter, notice, key, ready));
    const server = await done;
    expect(server).toMatchObject({ peer: { address: "10.0.0.7" }, key: { pid: 4711 }, parameters: [parameter] });
    expect([server.notices, server.ready]).toEqual([[notice], ready]);
    expect(log).toEqual(["tcp 10.0.0.7", "secure", "credential"]);
    expect(sent(dialled).subarray(8)).toEqual(
      Buffer.concat([startupOf("user\0reader\0database\0orders\0\0"), message("p", "iam-token\0")]),
    );
  });

  test("passes the client's settings on, and replication when the grant allows it", async () => {
    const stage = upstreamTo(serve(tls, say(...through)));
    const wanted = { parameters: [["application_name", "psql"]], replication: "database" } as const;
    await postgres.login(stage.upstream, grantFor({ replication: true }), wanted);
    const expected = "user\0reader\0database\0orders\0application_name\0psql\0replication\0database\0\0";
    expect(sent(stage.dialled).subarray(8)).toEqual(startupOf(expected));
  });

  test("S-25 refuses replication without dialling when the grant does not allow it", async () => {
    const stage = upstreamTo(serve(tls));
    const failure = await failed(postgres.login(stage.upstream, grantFor(), { parameters: [], replication: "true" }));
    expect([failure.code, stage.log]).toEqual(["denied", []]);
  });

  test("proves a password by SCRAM-SHA-256", async () => {
    let server: ReturnType<typeof startScramServer>;
    const { done, dialled } = logIn(
      challenge(),
      say(askScram),
      (said) => {
        const at = said.indexOf(0, 5) + 5;
        server = startScramServer({ password: "pencil", first: said.toString("utf8", at) });
        return message("R", int32(11), server.first);
      },
      (said) => Buffer.concat([message("R", int32(12), server.final(said.toString("utf8", 5))), ...through]),
    );
    await done;
    expect(sent(dialled).includes("pencil")).toBe(false);
  });

  test("proves a password by md5 where a challenge is expected", async () => {
    const { done, dialled } = logIn(challenge(), say(askMd5), say(...through));
    await done;
    const inner = createHash("md5").update("pencilreader").digest("hex");
    const outer = createHash("md5").update(`${inner}salt`).digest("hex");
    expect(sent(dialled).subarray(-41)).toEqual(message("p", `md5${outer}\0`).subarray(-41));
  });

  test("says the server's own words, SQLSTATE and a hint", async () => {
    const error = message("E", 'SFATAL\0C28000\0MPAM authentication failed for user "reader"\0\0');
    const { done, dialled } = logIn(clear(), say(askClear), say(error));
    const failure = await failed(done);
    expect(failure).toMatchObject({
      code: "upstream_refused",
      message: 'PAM authentication failed for user "reader"',
      details: { sqlstate: "28000" },
      hint: expect.stringContaining("rds_iam"),
    });
    expect(dialled[0]?.ours.destroyed).toBe(true);
  });

  test.each([
    ["before TLS", [() => "end"]],
    ["by a reset", [() => "reset"]],
    ["in the login", [tls, say(askClear), () => "end"]],
    ["inside a message", [tls, say(message("R", int32(3)).subarray(0, 7)), () => "end"]],
  ] as [string, Step[]][])("fails as unreachable when the server closes %s", async (_name, steps) => {
    const stage = upstreamTo((made) => {
      serve(...steps)(made);
      if (_name === "inside a message") setTimeout(() => made.theirs.destroy(), 10);
    });
    expect((await failed(postgres.login(stage.upstream, grantFor()))).code).toBe("upstream_unreachable");
  });

  test("fails when the caller destroys the socket", async () => {
    const stage = upstreamTo(() => {});
    const done = postgres.login(stage.upstream, grantFor());
    await new Promise(setImmediate);
    stage.dialled[0]?.ours.destroy(new Failure("timeout", "too slow"));
    expect((await failed(done)).code).toBe("timeout");
  });
});

test("S-20 bytes from the server behind S are fatal, and nothing secret follows", async () => {
  const stage = upstreamTo(serve(say(Buffer.concat([Buffer.from("S"), ok]))));
  expect((await failed(postgres.login(stage.upstream, grantFor()))).code).toBe("upstream_untrusted");
  expect([stage.log, sent(stage.dialled).length]).toEqual([["tcp 10.0.0.7"], 8]);
});

test.each(["N", "E", "X"])("S-33 a server that answers %s to SSLRequest gets nothing in plain text", async (answer) => {
  const stage = upstreamTo(serve(say(Buffer.from(answer))));
  expect((await failed(postgres.login(stage.upstream, grantFor()))).code).toBe("upstream_untrusted");
  expect([stage.log, sent(stage.dialled).length]).toEqual([["tcp 10.0.0.7"], 8]);
});

test.each([
  ["a password in clear", challenge(), [say(askClear)]],
  ["an IAM token by md5", clear(), [say(askMd5)]],
  ["an IAM token by SCRAM", clear(), [say(askScram)]],
  ["a password where there is none", { as: "none", user: "reader" } as const, [say(askClear)]],
  ["a password in clear after SCRAM began", challenge(), [say(askScram), say(askClear)]],
  ["md5 after SCRAM began", challenge(), [say(askScram), say(askMd5)]],
  ["SCRAM's second step first", challenge(), [say(message("R", int32(11), "r=a,s=AAAA,i=4096"))]],
  ["GSSAPI", clear(), [say(message("R", int32(7)))]],
  ["Redshift's identity provider", clear(), [say(message("R", int32(14)))]],
  ["a method that does not exist", clear(), [say(message("R", int32(99)))]],
  ["SCRAM by a mechanism we don't have", challenge(), [say(message("R", int32(10), "PLAIN\0\0"))]],
] as [string, Credential, Step[]][])(
  "S-33 a server that asks for %s is refused and given nothing",
  async (_name, credential, steps) => {
    const { done, dialled } = logIn(credential, ...steps);
    expect((await failed(done)).code).toBe("upstream_refused");
    for (const word of ["pencil", "iam-token", "md5"]) expect(sent(dialled).includes(word)).toBe(false);
  },
);

const refusedAs = { code: "upstream_refused" };
test.each([
  ["skips the proof of SCRAM", challenge(), [say(askScram), say(...through)]],
  ["is ready before the login", clear(), [say(ready)]],
  ["sends a key before the login", clear(), [say(key)]],
  ["asks again after the login", clear(), [say(askClear), say(ok, askClear)]],
  ["sends a short message", clear(), [say(Buffer.concat([Buffer.from("R"), int32(3)]))]],
  ["sends a negative length", clear(), [say(Buffer.concat([Buffer.from("R"), int32(-1)]))]],
  ["promises a huge message", clear(), [say(Buffer.concat([Buffer.from("S"), int32(0x7fff_ffff)]))]],
  ["sends an empty Authentication", clear(), [say(message("R"))]],
  ["sends rows", clear(), [say(message("D", "\0\0"))]],
  [
    "never ends its notices",
    clear(),
    [say(...Array.from({ length: 100 }, () => message("N", "M", "x".repeat(1000), "\0\0")))],
  ],
  ["is in error without words", clear(), [say(message("E"))]],
  ["is in error without an end", clear(), [say(message("E", "Mno"))]],
] as [string, Credential, Step[]][])("S-33 a server that %s is refused", async (_name, credential, steps) => {
  expect(await failed(logIn(credential, ...steps).done)).toMatchObject(refusedAs);
});

describe("cancel", () => {
  const server = {
    socket: link().ours,
    peer: { address: "10.0.0.9", port: 5433 },
    key: { pid: 4711, secret: Buffer.from("cafebabe", "hex") },
    parameters: [],
    notices: [],
    ready,
  };

  test("S-29 goes to the session's own peer, inside TLS, with the upstream's key", async () => {
    const stage = upstreamTo(serve(tls, () => "end"));
    await postgres.cancel(server, stage.upstream);
    expect(stage.log).toEqual(["tcp 10.0.0.9", "secure"]);
    expect(sent(stage.dialled).subarray(8)).toEqual(
      message("", int32(80_877_102), int32(4711), Buffer.from("cafebabe", "hex")),
    );
    expect(stage.dialled[0]?.ours.destroyed).toBe(true);
  });

  test("S-29 sends no key in plain text", async () => {
    const stage = upstreamTo(serve(say(Buffer.from("N"))));
    expect((await failed(postgres.cancel(server, stage.upstream))).code).toBe("upstream_untrusted");
    expect(sent(stage.dialled).length).toBe(8);
  });

  test("does nothing for a server that gave no key", async () => {
    const stage = upstreamTo(() => {});
    await postgres.cancel({ ...server, key: undefined }, stage.upstream);
    expect(stage.log).toEqual([]);
  });
});

describe("run", () => {
  const row = message("D", Buffer.from([0, 2]), int32(1), "7", int32(-1));
  const after = async (...steps: readonly Step[]) => {
    const { done, dialled } = logIn(clear(), say(...through), ...steps);
    return { server: await done, dialled };
  };

  test("answers rows as text and null", async () => {
    const { server, dialled } = await after(say(message("T", "\0\0"), row, message("C", "SELECT 1\0"), ready));
    expect(await postgres.run(server, "select 7, null")).toEqual([["7", null]]);
    expect(sent(dialled).subarray(-20)).toEqual(message("Q", "select 7, null\0"));
  });

  test("sends values apart from the statement", async () => {
    const { server, dialled } = await after(say(message("1"), message("2"), row, message("C", "SELECT 1\0"), ready));
    await postgres.run(server, "select $1", ["'; drop", null]);
    expect(sent(dialled).subarray(-91).includes(message("P", "\0select $1\0\0\0"))).toBe(true);
    const bind = message("B", "\0\0\0\0\0\x02", int32(7), "'; drop", int32(-1), "\0\0");
    expect(sent(dialled).includes(bind)).toBe(true);
  });

  test("fails with the server's error and leaves the connection good", async () => {
    const error = message("E", "C42601\0Msyntax error\0\0");
    const { server } = await after(say(error, ready), say(row, message("C", "SELECT 1\0"), ready));
    expect(await failed(postgres.run(server, "selec"))).toMatchObject({
      message: "syntax error",
      details: { sqlstate: "42601" },
    });
    expect(await postgres.run(server, "select 7")).toEqual([["7", null]]);
  });

  test("S-33 ends the connection at a malformed answer", async () => {
    const { server } = await after(say(message("D", Buffer.from([0, 1]), int32(900))));
    expect(await failed(postgres.run(server, "select 7"))).toMatchObject(refusedAs);
    expect(server.socket.destroyed).toBe(true);
  });
});
