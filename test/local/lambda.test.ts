// Lambda's Invoke with the real client: results, a function's own errors, events, names and permissions.
import { InvokeCommand, type InvokeCommandInput, LambdaClient } from "@aws-sdk/client-lambda";
import { openAccount } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { type Invocation, type Lambda, openLambda } from "@sallyport/local/services/lambda";
import { beforeEach, describe, expect, test } from "vitest";

const account = openAccount();
const discover = "arn:aws:lambda:eu-west-1:111122223333:function:discover";
const allowed = (...resources: string[]) => [{ actions: ["lambda:InvokeFunction"], resources }];
const caller = account.addUser({
  name: "caller",
  statements: allowed("arn:aws:lambda:eu-west-1:111122223333:function:*"),
});
account.addRole({ name: "api", statements: allowed(discover) });

const invoked: Invocation[] = [];
let lambda: Lambda;
let endpoint: Endpoint;
let client: LambdaClient;
const clientOf = (credentials = caller.credentials) =>
  new LambdaClient({ endpoint: endpoint.url, region: "eu-west-1", credentials, maxAttempts: 1 });

beforeEach(async () => {
  invoked.length = 0;
  lambda = openLambda({
    has: (name, { accountId }) => ["discover", "broken", "silent"].includes(name) && accountId === account.id,
    async invoke(invocation) {
      invoked.push(invocation);
      if (invocation.functionName === "broken") throw new TypeError("it broke");
      return invocation.functionName === "silent" ? undefined : { echo: invocation.payload };
    },
  });
  endpoint = await openEndpoint({ accounts: [account], services: [lambda.api] });
  client = clientOf();
  return async () => {
    client.destroy();
    await endpoint.close();
  };
});
const invoke = (input: Partial<InvokeCommandInput> = {}) =>
  client.send(new InvokeCommand({ FunctionName: "discover", ...input }));
const json = (payload: Uint8Array | undefined): unknown => JSON.parse(Buffer.from(payload ?? []).toString("utf8"));

test("a result comes back as the payload", async () => {
  const answer = await invoke({ Payload: Buffer.from('{"a":"é"}') });
  expect(answer).toMatchObject({ StatusCode: 200, ExecutedVersion: "$LATEST" });
  expect(answer.FunctionError).toBeUndefined();
  expect(json(answer.Payload)).toEqual({ echo: { a: "é" } });
  expect(invoked).toMatchObject([
    { functionName: "discover", identity: { arn: caller.user.arn }, region: "eu-west-1" },
  ]);
});

test("no payload is an empty object, no result is null", async () => {
  expect(json((await invoke()).Payload)).toEqual({ echo: {} });
  expect(json((await invoke({ FunctionName: "silent" })).Payload)).toBeNull();
});

test("a function's own error is a successful call that says so", async () => {
  const answer = await invoke({ FunctionName: "broken" });
  expect(answer).toMatchObject({ StatusCode: 200, FunctionError: "Unhandled" });
  expect(json(answer.Payload)).toMatchObject({ errorType: "TypeError", errorMessage: "it broke" });
});

test("an event is accepted at once and runs by itself, its error unseen", async () => {
  const answers = [
    await invoke({ InvocationType: "Event", Payload: Buffer.from('{"n":1}') }),
    await invoke({ FunctionName: "broken", InvocationType: "Event" }),
  ];
  expect(answers.map((answer) => [answer.StatusCode, answer.FunctionError])).toEqual([
    [202, undefined],
    [202, undefined],
  ]);
  await lambda.settled();
  expect(invoked.map(({ functionName, payload }) => [functionName, payload])).toEqual([
    ["discover", { n: 1 }],
    ["broken", {}],
  ]);
});

test("a dry run runs nothing", async () => {
  expect((await invoke({ InvocationType: "DryRun" })).StatusCode).toBe(204);
  expect(invoked).toEqual([]);
});

test.each(["discover", discover, "111122223333:function:discover"])("%s names the function", async (FunctionName) => {
  expect((await invoke({ FunctionName })).StatusCode).toBe(200);
});

describe("is refused", () => {
  test.each<[string, Partial<InvokeCommandInput>, string]>([
    ["for a function that is not there", { FunctionName: "none" }, "ResourceNotFoundException"],
    ["for a name that is none", { FunctionName: "a b" }, "ValidationException"],
    ["for a payload that is not JSON", { Payload: Buffer.from("{") }, "InvalidRequestContentException"],
    ["for a kind of invocation there is not", { InvocationType: "Later" as "Event" }, "InvalidParameterValueException"],
    [
      "for another region's function",
      { FunctionName: discover.replace("eu-west-1", "us-east-1") },
      "ResourceNotFoundException",
    ],
    [
      "for another account's function",
      { FunctionName: discover.replace("111122223333", "999999999999") },
      "AccessDeniedException",
    ],
  ])("%s", async (_, input, name) => {
    await expect(invoke(input)).rejects.toMatchObject({ name });
    expect(invoked).toEqual([]);
  });

  test("without the permission for that function", async () => {
    const { credentials } = account.session("api", { sessionName: "api" });
    const api = clientOf(credentials);
    expect((await api.send(new InvokeCommand({ FunctionName: "discover" }))).StatusCode).toBe(200);
    await expect(api.send(new InvokeCommand({ FunctionName: "broken" }))).rejects.toMatchObject({
      name: "AccessDeniedException",
      $metadata: { httpStatusCode: 403 },
    });
    await expect(api.send(new InvokeCommand({ FunctionName: "discover", Qualifier: "7" }))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    api.destroy();
    expect(invoked).toHaveLength(1);
  });
});
