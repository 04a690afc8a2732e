import { Signer } from "@aws-sdk/rds-signer";
import { openTokens, signToken } from "@sallyport/aws/iam";
import { openAccount } from "@sallyport/local/account";
import { verifyToken } from "@sallyport/local/signature";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const host = "orders.abc.eu-west-1.rds.amazonaws.com";
const of = { host, port: 5432, region: "eu-west-1", user: "reader" };
const keys = { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "canary-secret" };
const parametersOf = (token: string) => Object.fromEntries(new URL(`https://${token}`).searchParams);

describe("an RDS token", () => {
  const users = ["reader", "Ünïcode user", "a+b c&d=e%/?#", "!'()*~-._", "x".repeat(63)];
  const sessions = [undefined, `IQoJ/+=${"s".repeat(1200)}`];
  it.each(users.flatMap((user) => sessions.map((sessionToken) => ({ user, sessionToken }))))(
    "equals the one of AWS's own signer in every byte, for $user",
    async ({ user, sessionToken }) => {
      const credentials = { ...keys, ...(sessionToken !== undefined && { sessionToken }) };
      const signer = new Signer({ hostname: host, port: 5432, region: "eu-west-1", username: user, credentials });
      const theirs = await signer.getAuthToken();
      const date = parametersOf(theirs)["X-Amz-Date"] ?? "";
      const at = Date.parse(date.replace(/(....)(..)(..)T(..)(..)(..)Z/, "$1-$2-$3T$4:$5:$6Z"));
      const ours = await signToken({ ...of, user }, credentials, at);
      expect(parametersOf(ours.reveal())).toEqual(parametersOf(theirs));
      expect(ours.reveal()).toBe(theirs);
    },
  );

  it("is taken by a server that verifies it as RDS does, for its endpoint, user and 15 minutes alone", async () => {
    const account = openAccount();
    const { credentials } = account.addUser({ name: "proxy" });
    const now = Date.now();
    const token = (await signToken(of, credentials, now)).reveal();
    const verify = (user: string, at: number, port = 5432) =>
      verifyToken({
        token,
        service: "rds-db",
        host: `${host}:${port}`,
        region: "eu-west-1",
        expect: { Action: "connect", DBUser: user },
        credentials: (id) => account.key(id),
        now: at,
      });
    expect(verify("reader", now).arn).toContain("user/proxy");
    expect(() => verify("admin", now)).toThrow("DBUser");
    expect(() => verify("reader", now, 5433)).toThrow("endpoint");
    expect(() => verify("reader", now + 15 * 60_000 + 1000)).toThrow("expired");
  });

  it("never prints", async () => {
    const token = await signToken(of, keys, 0);
    expect(`${token} ${JSON.stringify({ token })}`).toBe('[secret] {"token":"[secret]"}');
  });
});

describe("a cache's token", () => {
  const account = openAccount();
  const { credentials } = account.addUser({ name: "proxy" });
  const cache = { service: "elasticache", cache: "Orders", region: "eu-west-1", user: "app" } as const;
  const verify = (token: string, over: Partial<Parameters<typeof verifyToken>[0]> = {}) =>
    verifyToken({
      token,
      service: "elasticache",
      host: "orders",
      region: "eu-west-1",
      expect: { Action: "connect", User: "app" },
      credentials: (id) => account.key(id),
      now: 0,
      ...over,
    });

  it("is taken for its service, cache, user and 15 minutes alone", async () => {
    const token = (await signToken(cache, credentials, 0)).reveal();
    expect(verify(token).arn).toContain("user/proxy");
    expect(() => verify(token, { service: "memorydb" })).toThrow("service");
    expect(() => verify(token, { host: "other" })).toThrow("endpoint");
    expect(() => verify(token, { region: "eu-west-2" })).toThrow("region");
    expect(() => verify(token, { expect: { Action: "connect", User: "admin" } })).toThrow("User");
    expect(() => verify(token, { now: 15 * 60_000 + 1000 })).toThrow("expired");
    expect(() => verify(token, { expect: { ResourceType: "ServerlessCache" } })).toThrow("ResourceType");
  });

  it("of a serverless cache says so, and one of MemoryDB is MemoryDB's", async () => {
    const serverless = (await signToken({ ...cache, serverless: true }, credentials, 0)).reveal();
    expect(verify(serverless, { expect: { User: "app", ResourceType: "ServerlessCache" } }).region).toBe("eu-west-1");
    const memorydb = (await signToken({ ...cache, service: "memorydb" }, credentials, 0)).reveal();
    expect(verify(memorydb, { service: "memorydb" }).region).toBe("eu-west-1");
  });

  it("is the name of the cache and a query, sorted, without a scheme", async () => {
    const token = (await signToken(cache, { ...keys, sessionToken: "s+/=" }, 0)).reveal();
    expect(token).toMatch(
      /^orders\/\?Action=connect&User=app&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F/,
    );
    expect(Object.keys(parametersOf(token)).toSorted()).toEqual(Object.keys(parametersOf(token)));
    expect(parametersOf(token)).toMatchObject({
      ...{ "X-Amz-Expires": "900", "X-Amz-SignedHeaders": "host", "X-Amz-Security-Token": "s+/=" },
      "X-Amz-Credential": "AKIAEXAMPLE/19700101/eu-west-1/elasticache/aws4_request",
    });
  });

  it("is taken for any user that can be named", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1, unit: "grapheme" }), async (user) => {
        const token = (await signToken({ ...cache, user }, credentials, 0)).reveal();
        expect(verify(token, { expect: { User: user } }).arn).toContain("user/proxy");
        expect(() => verify(token, { expect: { User: `${user}x` } })).toThrow("User");
      }),
    );
  });
});

describe("tokens", () => {
  const open = () => {
    let now = Date.UTC(2026, 10, 21, 12);
    const clock = { now: () => now };
    return {
      token: openTokens({ clock }),
      pass(ms: number) {
        now += ms;
      },
      clock,
    };
  };

  it("are used for ten minutes", async () => {
    const { token, pass } = open();
    const first = await token(of, keys);
    pass(10 * 60_000 - 1);
    expect(await token(of, keys)).toBe(first);
    pass(1);
    expect((await token(of, keys)).reveal()).not.toBe(first.reveal());
  });

  it("are one per endpoint, user and key", async () => {
    const { token } = open();
    const others = [
      token({ ...of, user: "writer" }, keys),
      token({ ...of, port: 5433 }, keys),
      token({ ...of, host: `x${host}` }, keys),
      token({ ...of, region: "eu-west-2" }, keys),
      token(of, { ...keys, accessKeyId: "AKIAOTHER" }),
      token(of, keys),
    ];
    expect(new Set((await Promise.all(others)).map((one) => one.reveal())).size).toBe(6);
  });

  it("of caches are one per service, cache, kind, region, user and key", async () => {
    const { token } = open();
    const cache = { service: "elasticache", cache: "orders", region: "eu-west-1", user: "app" } as const;
    const others = [
      token(cache, keys),
      token({ ...cache, service: "memorydb" }, keys),
      token({ ...cache, cache: "other" }, keys),
      token({ ...cache, serverless: true }, keys),
      token({ ...cache, region: "eu-west-2" }, keys),
      token({ ...cache, user: "other" }, keys),
      token(cache, { ...keys, accessKeyId: "AKIAOTHER" }),
    ];
    expect(new Set((await Promise.all(others)).map((one) => one.reveal())).size).toBe(7);
    expect(await token(cache, keys)).toBe(await others[0]);
  });

  it("end before the keys they were signed with", async () => {
    const { token, pass, clock } = open();
    const ending = { ...keys, expiration: new Date(clock.now() + 5 * 60_000) };
    const first = await token(of, ending);
    pass(4 * 60_000);
    expect(await token(of, ending)).not.toBe(first);
  });

  it("that could not be signed are asked for again", async () => {
    const { token } = open();
    await expect(token(of, { accessKeyId: "AKIAEXAMPLE", secretAccessKey: undefined as never })).rejects.toThrow();
    expect((await token(of, keys)).reveal()).toContain("AKIAEXAMPLE");
  });
});
