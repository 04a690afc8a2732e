// The functions on a table in memory: requests as API Gateway sends them, a clock that a test sets, and on the table the very
// permissions that core/permission.ts gives the function, so that one which is missing fails here.
import { createHash, randomBytes } from "node:crypto";
import { type Input, type RouteName, routes } from "@sallyport/core/api";
import type { Database } from "@sallyport/core/database";
import { keys, toItem } from "@sallyport/core/family";
import { keyChanges } from "@sallyport/core/login";
import { type Principal, statementsFor } from "@sallyport/core/permission";
import type { Change, Key, Store } from "@sallyport/core/ports";
import type { Probed, Probing } from "@sallyport/core/probe";
import type { Role } from "@sallyport/core/role";
import type { ProxyTask } from "@sallyport/core/session";
import type { User } from "@sallyport/core/user";
import { openApi } from "@sallyport/functions/api";
import { openBootstrap } from "@sallyport/functions/bootstrap";
import type { World } from "@sallyport/functions/compose";
import type { Log } from "@sallyport/functions/log";
import { openSweep } from "@sallyport/functions/sweep";
import { hour, makeDatabase, now as startedAt } from "../core/make.ts";
import { openFakeStore } from "../fakes/store.ts";

const deployment = {
  partition: "aws",
  account: "111122223333",
  region: "eu-west-1",
  tableArn: "arn:aws:dynamodb:eu-west-1:111122223333:table/t",
  discoverArn: "arn:aws:lambda:eu-west-1:111122223333:function:discover",
  secretPrefix: "t",
  assumable: [],
};

/** A store that allows what the principal's policy allows, and nothing else. */
const guard = (store: Store, principal: Principal, seen: (action: string) => void = () => {}): Store => {
  const statements = statementsFor(principal, deployment, ["rds", "aurora"]);
  const check = (action: string, { pk }: Key): void => {
    const allowed = statements.some(
      ({ actions, conditions }) =>
        actions.includes(`dynamodb:${action}`) &&
        [conditions?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"] ?? []]
          .flat()
          .some((pattern) => pk.startsWith(pattern.replace("*", ""))),
    );
    seen(action);
    if (!allowed) throw new Error(`${principal} may not ${action} ${pk}`);
  };
  const checkChange = (change: Change): void => {
    if ("put" in change) check("PutItem", change.put);
    else if ("update" in change) check("UpdateItem", change.update);
    else check("DeleteItem", change.remove);
  };
  return {
    get: async (key) => {
      check("GetItem", key);
      return store.get(key);
    },
    getMany: async (wanted) => {
      for (const key of wanted) check("BatchGetItem", key);
      return store.getMany(wanted);
    },
    list: async (pk, page) => {
      check("Query", { pk, sk: "" });
      return store.list(pk, page);
    },
    write: async (change) => {
      checkChange(change);
      return store.write(change);
    },
    transact: async (changes) => {
      for (const change of changes) checkChange(change);
      return store.transact(changes);
    },
  };
};

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  // what a test looks into is what it expects
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any;
  readonly text: string;
}

interface Http {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly base64?: boolean;
  readonly from?: string;
}
export const httpEvent = (http: Http) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: http.path ?? "/",
  rawQueryString: http.query ?? "",
  headers: { host: "api.test", ...http.headers },
  requestContext: {
    accountId: "111122223333",
    apiId: "t",
    domainName: "api.test",
    requestId: "JKJaXmPLvHcESHA=",
    stage: "$default",
    timeEpoch: startedAt,
    http: {
      method: http.method ?? "GET",
      path: http.path ?? "/",
      protocol: "HTTP/1.1",
      sourceIp: http.from ?? "192.0.2.7",
      userAgent: "test",
    },
  },
  ...(http.body === undefined ? {} : { body: http.body }),
  isBase64Encoded: http.base64 ?? false,
});

export const context = {
  awsRequestId: "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
  getRemainingTimeInMillis: () => 29_000,
};

const requestOf = (name: RouteName, input: Record<string, unknown>) => {
  const rest = { ...input };
  const path = routes[name].path.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = String(rest[key]);
    delete rest[key];
    return encodeURIComponent(value);
  });
  const { method } = routes[name];
  const body = method === "POST" || method === "PUT" ? { body: JSON.stringify(rest) } : {};
  return { method, path, headers: { "content-type": "application/json" }, ...body };
};

export const makeUser = (name: string, roles: readonly string[], over: Partial<User> = {}): User => ({
  name,
  roles: [...roles],
  traits: {},
  state: "active",
  createdAt: startedAt - hour,
  createdBy: "test",
  revision: 1,
  ...over,
});

export const openWorld = () => {
  let now = startedAt;
  const table = openFakeStore();
  const waits: number[] = [];
  const logged: string[] = [];
  const runs: { dryRun: boolean }[] = [];
  const probed: Probing[] = [];
  const line =
    (level: string) =>
    (message: string, facts = {}) =>
      void logged.push(JSON.stringify({ level, message, ...facts }));
  const log: Log = { info: line("info"), warn: line("warn"), error: line("error") };
  const common = {
    clock: { now: () => now },
    random: { bytes: (count: number) => new Uint8Array(randomBytes(count)) },
    digest: { sha256: (text: string) => createHash("sha256").update(text).digest("hex") },
    wait: async (ms: number) => void waits.push(ms),
    api: "https://api.test",
    networks: {
      default: {
        gate: { host: "gate.test", port: 7443, pins: ["sha256/pin"], ca: "CA" },
        direct: { host: "direct.test", ports: { postgres: 5432 }, ca: "CA" },
      },
    },
    enabling: undefined,
    rotation: undefined,
    probing: async (event: Probing): Promise<Probed> => {
      probed.push(event);
      return { nodes: [{ address: "10.0.0.9", port: event.endpoint.port, result: "ok", tls: true }] };
    },
    discovery: async (run: { dryRun: boolean }) => {
      runs.push(run);
      return { runs: [] };
    },
  };
  let reads = 0;
  const seen = (action: string): void => {
    if (["GetItem", "BatchGetItem", "Query"].includes(action)) reads += 1;
  };
  const worldOf = (principal: Principal): World => ({ ...common, store: guard(table, principal, seen) });
  const api = openApi(worldOf("api"), log);

  const send = async (http: Http): Promise<Answer> => {
    const answer = await api(httpEvent(http), context);
    return { status: answer.statusCode, headers: answer.headers, body: JSON.parse(answer.body), text: answer.body };
  };
  const put = async (...items: Parameters<typeof toItem>[]): Promise<void> => {
    for (const item of items) await table.write({ put: toItem(...item) });
  };
  return {
    table,
    waits,
    logged,
    runs,
    /** What the probe was asked. */
    probed,
    log,
    worldOf,
    api,
    bootstrap: openBootstrap(worldOf("bootstrap"), log),
    sweep: openSweep(worldOf("sweep"), log),
    clock: {
      now: () => now,
      /** Moves the clock on by so many milliseconds. */
      pass: (ms: number): void => {
        now += ms;
      },
    },
    digest: common.digest,
    /** How often the table was read. */
    reads: () => reads,
    send,
    /** A call of a route as a client makes it. */
    call: <R extends RouteName>(name: R, input: Input<R>, token?: string, over: Http = {}): Promise<Answer> => {
      const request = requestOf(name, input as Record<string, unknown>);
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
      return send({ ...request, ...over, headers: { ...request.headers, ...authorization, ...over.headers } });
    },
    /** A user who is there, logged in; answers the session token. */
    loginAs: async (user: User, lastsFor = 12 * hour): Promise<string> => {
      await put([keys.user(user.name), user]);
      const key = { kind: "session", user: user.name, issuedAt: now, expiresAt: now + lastsFor } as const;
      const { token, changes } = keyChanges(common, key);
      for (const change of changes) await table.write(change);
      return token.reveal();
    },
    addRoles: (...roles: Role[]) => put(...roles.map((role) => [keys.role(role.name), role] as [Key, Role])),
    addDatabases: (...databases: Partial<Database>[]) =>
      put(
        ...databases.map((over) => {
          const database = makeDatabase(over);
          return [keys.database(database.name), database] as [Key, Database];
        }),
      ),
    addProxy: (over: Partial<ProxyTask> = {}) => {
      const task: ProxyTask = {
        id: "prx_1",
        address: "10.0.0.1",
        peerPort: 7444,
        network: "default",
        version: "0",
        startedAt: now,
        heartbeatAt: now,
        draining: false,
        sessions: 0,
        ...over,
      };
      return put([keys.proxy(task.id), task]);
    },
    put,
    /** The events recorded so far, by name. */
    events: (name?: string) =>
      table.items().filter((item) => item.pk.startsWith("event#") && (name === undefined || item["name"] === name)),
    epoch: () => Number(table.items().find((item) => item.pk === "epoch#")?.["epoch"] ?? 0),
  };
};
export type TestWorld = ReturnType<typeof openWorld>;
