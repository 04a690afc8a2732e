import type { SampleCache } from "@sallyport/local/cache-sample";
import { afterEach, describe, expect, test } from "vitest";
import { type Presigning, presign } from "./cache-token.ts";
import { accountId, ground, installed, region } from "./redis-account.ts";

const open = ground(["elasticache", "elasticache-serverless", "memorydb"]);
const refused = "WRONGPASS invalid username-password pair or user is disabled.";
const role = `arn:aws:iam::${accountId}:role/proxy`;
const all = [{ actions: ["elasticache:Connect", "memorydb:connect"], resources: ["*"] }];

interface Sort {
  readonly kind: "elasticache" | "elasticache-serverless" | "memorydb";
  readonly name: string;
  readonly service: "elasticache" | "memorydb";
  readonly more?: Presigning["more"];
  readonly resources: readonly string[];
}
const arn = (service: string, rest: string): string => `arn:aws:${service}:${region}:${accountId}:${rest}`;
const sorts: readonly Sort[] = [
  {
    kind: "elasticache",
    name: "orders",
    service: "elasticache",
    resources: [arn("elasticache", "replicationgroup:orders"), arn("elasticache", "user:orders-iam")],
  },
  {
    kind: "elasticache-serverless",
    name: "carts",
    service: "elasticache",
    more: [["ResourceType", "ServerlessCache"]],
    resources: [arn("elasticache", "serverlesscache:carts"), arn("elasticache", "user:carts-iam")],
  },
  {
    kind: "memorydb",
    name: "ledger",
    service: "memorydb",
    resources: [arn("memorydb", "cluster/ledger"), arn("memorydb", "user/ledger-iam")],
  },
];

afterEach(() => {
  if (installed) open().account.attach(role, all);
});

describe.each(sorts)("a token for $kind", ({ kind, name, service, more = [], resources }) => {
  const cache = (): SampleCache => {
    const found = open().sample[kind];
    if (!found) throw new Error(`no ${kind}`);
    return found;
  };
  const user = `${name}-iam`;
  const token = (over: Partial<Presigning> = {}): string =>
    presign({ host: name, user, credentials: open().session, now: open().now(), service, more, ...over });
  const login = (password: string, as = user): Promise<string> => open().login(cache(), as, password);

  test("is taken, on every node, and makes exactly its user", async () => {
    for (const at of cache().cache.fronts.keys()) expect(await open().login(cache(), user, token(), at)).toBe(user);
  });

  test("is taken as often as one likes within its fifteen minutes, and then no more", async () => {
    const early = token({ now: open().now() - 890_000 });
    expect(await login(early)).toBe(user);
    expect(await login(early)).toBe(user);
    expect(await login(token({ now: open().now() - 901_000 }))).toBe(refused);
    expect(await login(token({ now: open().now() + 600_000 }))).toBe(refused);
    expect(await login(token({ expires: 901 }))).toBe(refused);
  });

  test("is refused for another user, cache, service, region or case of its name", async () => {
    expect(await login(token({ user: `${name}-managed` }))).toBe(refused);
    expect(await login(token(), `${name}-managed`)).toBe(refused);
    expect(await login(token({ host: "elsewhere" }))).toBe(refused);
    expect(await login(token({ host: cache().cache.host }))).toBe(refused);
    expect(await login(token({ host: name.toUpperCase() }))).toBe(refused);
    expect(await login(token({ service: service === "memorydb" ? "elasticache" : "memorydb" }))).toBe(refused);
    expect(await login(token({ service: "rds-db" }))).toBe(refused);
    expect(await login(token({ region: "eu-west-2" }))).toBe(refused);
  });

  test("is refused when its signature leaves the host out, or the session, or anything is changed or said twice", async () => {
    expect(await login(token({ signedHeaders: "" }))).toBe(refused);
    expect(await login(token({ withoutSession: true }))).toBe(refused);
    expect(await login(token({ more: [...more, ["User", "other"]] }))).toBe(refused);
    expect(await login(`${token()}&Action=connect`)).toBe(refused);
    expect(await login(token().replace("Action=connect", "Action=disconnect"))).toBe(refused);
    expect(await login(token().replace(/.$/, (last) => (last === "0" ? "1" : "0")))).toBe(refused);
    expect(await login(`http://${token()}`)).toBe(refused);
    expect(await login(token({ more: [...more, ["Filler", "x".repeat(20_000)]] }))).not.toBe(user);
    const wrongType = more.length > 0 ? [] : [["ResourceType", "ServerlessCache"] as const];
    expect(await login(token({ more: wrongType }))).toBe(refused);
  });

  test("is refused from keys that are nobody's, another account's, or of a role that may not connect to both", async () => {
    const { account, other, session } = open();
    other.addRole({ name: `stranger-${kind}`, statements: all });
    const { credentials: theirs } = other.session(`stranger-${kind}`, { sessionName: "x" });
    expect(await login(token({ credentials: theirs }))).toBe(refused);
    expect(await login(token({ credentials: { ...session, secretAccessKey: "x" } }))).toBe(refused);
    for (const one of resources) {
      account.attach(role, [{ actions: all[0]?.actions ?? [], resources: [one] }]);
      expect(await login(token())).toBe(refused);
    }
    account.attach(role, [{ actions: all[0]?.actions ?? [], resources }]);
    expect(await login(token())).toBe(user);
  });

  test("is nothing to a password user, whose password is", async () => {
    const { managed, own, passwords } = cache().users;
    expect(await login(passwords.managed.reveal(), managed)).toBe(managed);
    expect(await login(passwords.own.reveal(), own)).toBe(own);
    expect(await login(passwords.own.reveal(), managed)).toBe(refused);
    expect(await login(token({ user: own }), own)).toBe(refused);
    expect(await login("", "default")).not.toBe("default");
  });
});
