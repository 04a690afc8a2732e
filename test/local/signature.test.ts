// SigV4 verification, against AWS's published vectors and the SDK's own signers: every signed part, changed one at a time.
import { PutSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { Signer } from "@aws-sdk/rds-signer";
import { type Key, openAccount } from "@sallyport/local/account";
import { type SignedRequest, verifyRequest, verifyToken } from "@sallyport/local/signature";
import { describe, expect, test } from "vitest";

const region = "eu-west-1";
const account = openAccount({ region });
const user = account.addUser({ name: "dev" });
account.addRole({ name: "proxy" });
const session = account.session("proxy", { sessionName: "task" });
const callers = [
  ["a user's key", user.credentials, "arn:aws:iam::111122223333:user/dev"],
  ["a role's session", session.credentials, "arn:aws:sts::111122223333:assumed-role/proxy/task"],
] as const;

describe("AWS's own examples", () => {
  const accessKeyId = "AKIDEXAMPLE";
  const identity = { accountId: "1", arn: "arn:example", principalArn: "arn:example", userId: "example", tags: {} };
  const key: Key = { secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", identity };
  const example = (of: {
    method?: string;
    target?: string;
    service?: string;
    type?: string;
    host?: string;
    signature: string;
  }) => {
    const { method = "GET", target = "/", service = "service", host = "example.amazonaws.com" } = of;
    const signed = ["host", "x-amz-date", ...(of.type ? ["content-type"] : [])].sort().join(";");
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20150830/us-east-1/${service}/aws4_request, SignedHeaders=${signed}, Signature=${of.signature}`;
    const headers = {
      host: [host],
      "x-amz-date": ["20150830T123600Z"],
      authorization: [authorization],
      ...(of.type && { "content-type": [of.type] }),
    };
    const credentials = (id: string) => (id === accessKeyId ? key : undefined);
    return verifyRequest({
      request: { method, target, headers, body: Buffer.alloc(0) },
      service,
      credentials,
      now: Date.UTC(2015, 7, 30, 12, 36),
    });
  };

  test.each([
    ["get-vanilla", { signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" }],
    ["post-vanilla", { method: "POST", signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" }],
    [
      "get-vanilla-query-order-key-case",
      {
        target: "/?Param2=value2&Param1=value1",
        signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
      },
    ],
    [
      "the signing guide's ListUsers",
      {
        target: "/?Action=ListUsers&Version=2010-05-08",
        service: "iam",
        host: "iam.amazonaws.com",
        type: "application/x-www-form-urlencoded; charset=utf-8",
        signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
      },
    ],
  ])("%s verifies", (_, of) => {
    expect(example(of).arn).toBe("arn:example");
    expect(() =>
      example({ ...of, signature: of.signature.replace(/.$/, (last) => (last === "0" ? "1" : "0")) }),
    ).toThrow(/does not match/);
  });
});

describe.each(callers)("a request signed with %s", (_, credentials, arn) => {
  const service = "secretsmanager";
  const captured = async (): Promise<SignedRequest> => {
    const requests: SignedRequest[] = [];
    const handle = async (request: {
      method: string;
      path: string;
      headers: Record<string, string>;
      body: Uint8Array;
    }) => {
      const headers = Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), [value]]),
      );
      requests.push({ method: request.method, target: request.path, headers, body: new Uint8Array(request.body) });
      throw new Error("captured");
    };
    const client = new SecretsManagerClient({
      region,
      credentials,
      maxAttempts: 1,
      requestHandler: { handle } as never,
    });
    await client.send(new PutSecretValueCommand({ SecretId: "a/b", SecretString: "value" })).catch(() => undefined);
    client.destroy();
    const [request] = requests;
    if (!request) throw new Error("the client sent nothing");
    return request;
  };
  const verify = (request: SignedRequest, now = signedAt(request)) =>
    verifyRequest({ request, service, credentials: account.key, now });
  const header = (request: SignedRequest, name: string, value: string | undefined): SignedRequest => ({
    ...request,
    headers: { ...request.headers, [name]: value === undefined ? undefined : [value] },
  });
  const resigned = (request: SignedRequest, change: (authorization: string) => string) =>
    header(request, "authorization", change(request.headers["authorization"]?.[0] ?? ""));

  test("verifies, and says who and where", async () => {
    expect(verify(await captured())).toMatchObject({ arn, region, accessKeyId: credentials.accessKeyId });
  });

  test("is refused when any part of it is changed", async () => {
    const request = await captured();
    expect(() => verify({ ...request, body: Buffer.from("{}") })).toThrow(/does not match|not the hash/);
    expect(() => verify({ ...request, method: "GET" })).toThrow(/does not match/);
    expect(() => verify({ ...request, target: "/other" })).toThrow(/does not match/);
    expect(() => verify({ ...request, target: "/?a=b" })).toThrow(/does not match/);
    expect(() => verify(header(request, "host", "evil.example"))).toThrow(/does not match/);
    expect(() => verify(header(request, "x-amz-target", "secretsmanager.DeleteSecret"))).toThrow(/does not match/);
    expect(() => verify(header(request, "content-type", "text/plain"))).toThrow(/does not match/);
    expect(() => verify(resigned(request, (text) => text.replace(region, "us-east-1")))).toThrow(/does not match/);
    expect(() =>
      verify(
        resigned(request, (text) =>
          text.replace(/Signature=./, (start) => (start.endsWith("0") ? "Signature=1" : "Signature=0")),
        ),
      ),
    ).toThrow(/does not match/);
    expect(() => verify(resigned(request, (text) => text.replace(service, "sts")))).toThrow(/correct service/);
    expect(() => verify(resigned(request, (text) => text.replace(credentials.accessKeyId, "AKIAOTHER")))).toThrow(
      /security token/,
    );
  });

  test("is refused when the host, the date or an x-amz header is not covered", async () => {
    const request = await captured();
    for (const name of ["host", "x-amz-date", "x-amz-target", "content-type"]) {
      const without = (text: string) =>
        text.replace(/SignedHeaders=[^,]+/, (list) =>
          list.replace(new RegExp(`(?<==|;)${name}(;|$)`), "").replace(/;$/, ""),
        );
      expect(() => verify(resigned(request, without)), name).toThrow(`'${name}' must be a signed header`);
    }
    expect(() => verify(header(request, "x-amz-extra", "1"))).toThrow(/'x-amz-extra' must be a signed header/);
  });

  test("is refused when a header comes twice, or the authorization is malformed", async () => {
    const request = await captured();
    const twice = { ...request, headers: { ...request.headers, host: ["a", "b"] } };
    expect(() => verify(twice)).toThrow(/more than once/);
    expect(() => verify(header(request, "authorization", undefined))).toThrow(/missing Authentication Token/);
    expect(() => verify(resigned(request, (text) => `${text}, Signature=00`))).toThrow(/twice/);
    expect(() => verify(resigned(request, (text) => text.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")))).toThrow(
      /requires exactly/,
    );
  });

  test("S-50 is good for five minutes around the account's clock, and no longer than its keys", async () => {
    const request = await captured();
    const at = signedAt(request);
    expect(() => verify(request, at + 300_000)).not.toThrow();
    expect(() => verify(request, at - 300_000)).not.toThrow();
    expect(() => verify(request, at + 301_000)).toThrow(/expired/);
    expect(() => verify(request, at - 301_000)).toThrow(/not yet current/);
  });
});

test("a session's keys need its session token, and end when it does", async () => {
  const clock = { now: Date.now() };
  const own = openAccount({ now: () => clock.now });
  own.addRole({ name: "short" });
  const { credentials } = own.session("short", { sessionName: "s", lifetimeMs: 900_000 });
  const token = await new Signer({ hostname: "h", port: 1, username: "u", region, credentials }).getAuthToken();
  const { accessKeyId, secretAccessKey } = credentials;
  const bare = await new Signer({
    hostname: "h",
    port: 1,
    username: "u",
    region,
    credentials: { accessKeyId, secretAccessKey },
  }).getAuthToken();
  const verify = (given: string) =>
    verifyToken({
      token: given,
      service: "rds-db",
      host: "h:1",
      region,
      expect: {},
      credentials: own.key,
      now: clock.now,
    });
  expect(verify(token).identity.session?.name).toBe("s");
  expect(() => verify(bare)).toThrow(/security token/);
  const shorter = { ...own, key: (id: string) => ({ ...(own.key(id) as Key), expiresAt: clock.now }) };
  expect(() =>
    verifyToken({
      token,
      service: "rds-db",
      host: "h:1",
      region,
      expect: {},
      credentials: shorter.key,
      now: clock.now,
    }),
  ).toThrow(/expired/);
});

describe.each(callers)("a database token made with %s", (_, credentials, arn) => {
  const hostname = "orders.abc.eu-west-1.rds.amazonaws.com";
  const make = (username = "app") => new Signer({ hostname, port: 5432, username, region, credentials }).getAuthToken();
  const verify = (token: string, changed: Partial<Parameters<typeof verifyToken>[0]> = {}) =>
    verifyToken({
      token,
      service: "rds-db",
      host: `${hostname}:5432`,
      region,
      expect: { Action: "connect", DBUser: "app" },
      credentials: account.key,
      now: issuedAt(token),
      ...changed,
    });

  test("verifies, and says whose it is and how long it lives", async () => {
    const token = await make();
    const at = issuedAt(token);
    expect(verify(token)).toMatchObject({
      arn,
      accessKeyId: credentials.accessKeyId,
      issuedAt: at,
      expiresAt: at + 900_000,
    });
    expect(verify(token, { host: ["other:5432", `${hostname}:5432`] }).arn).toBe(arn);
  });

  test("S-05 is for one endpoint, one user, one region and one service", async () => {
    const token = await make();
    expect(() => verify(token, { host: "other:5432" })).toThrow(/another endpoint/);
    expect(() => verify(token, { expect: { DBUser: "admin" } })).toThrow(/DBUser does not match/);
    expect(() => verify(token.replace("DBUser=app", "DBUser=admin"), { expect: { DBUser: "admin" } })).toThrow(
      /does not match the signature/,
    );
    expect(() =>
      verify(token.replace(hostname, "other.rds.amazonaws.com"), { host: "other.rds.amazonaws.com:5432" }),
    ).toThrow(/does not match the signature/);
    expect(() => verify(token, { region: "us-east-1" })).toThrow(/scope/);
    expect(() => verify(token, { service: "elasticache" })).toThrow(/scope/);
    expect(() => verify(token.replace("Action=connect", "Action=other"), { expect: {} })).toThrow(
      /does not match the signature/,
    );
  });

  test("is refused when it says something twice, or does not cover the host", async () => {
    const token = await make();
    expect(() => verify(`${token}&DBUser=app`)).toThrow(/twice/);
    expect(() => verify(token.replace("?Action", "?DBUser=admin&Action"))).toThrow(/twice/);
    expect(() => verify(token.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="))).toThrow(/cover the host/);
    expect(() => verify(token.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=x-amz-date"))).toThrow(
      /cover the host/,
    );
    expect(() => verify(token.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host%3Bx-extra"))).toThrow(
      /cover the host/,
    );
  });

  test("S-50 lives fifteen minutes, whatever it says of itself", async () => {
    const token = await make();
    const at = issuedAt(token);
    expect(() => verify(token, { now: at + 900_000 })).not.toThrow();
    expect(() => verify(token, { now: at + 900_001 })).toThrow(/expired/);
    expect(() => verify(token, { now: at - 300_001 })).toThrow(/future/);
    for (const expires of ["901", "86400", "0", "-1", "1e3", "", "9 0"]) {
      expect(
        () => verify(token.replace("X-Amz-Expires=900", `X-Amz-Expires=${encodeURIComponent(expires)}`)),
        expires,
      ).toThrow(/1 to 900/);
    }
    expect(() => verify(token.replace("X-Amz-Expires=900", "X-Amz-Expires=899"))).toThrow(
      /does not match the signature/,
    );
  });

  test("is refused when the signature, the key or the shape is wrong", async () => {
    const token = await make();
    const flipped = token.replace(
      /X-Amz-Signature=(.)/,
      (_all, first: string) => `X-Amz-Signature=${first === "0" ? "1" : "0"}`,
    );
    expect(() => verify(flipped)).toThrow(/does not match the signature/);
    expect(() => verify(token, { credentials: () => undefined })).toThrow(/security token/);
    expect(() =>
      verify(token, { credentials: (id) => ({ ...(account.key(id) as Key), secretAccessKey: "other" }) }),
    ).toThrow(/does not match the signature/);
    for (const garbage of [
      "",
      "password",
      "h",
      `${hostname}:5432`,
      `${hostname}:5432/?`,
      `${hostname}:5432/?%zz`,
      `${token}${"x".repeat(20_000)}`,
      `http://${token}`,
    ]) {
      expect(() => verify(garbage, { now: Date.now() }), garbage.slice(0, 40)).toThrow();
    }
  });
});

const parseAt = (date: string) =>
  Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
const issuedAt = (token: string) => parseAt(/X-Amz-Date=(\w+)/.exec(token)?.[1] ?? "");
const signedAt = (request: SignedRequest) => parseAt(request.headers["x-amz-date"]?.[0] ?? "");
