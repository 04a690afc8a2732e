// The ECS agent beside a task on the laptop: where it asks not to be stopped. Requests and answers are shaped as the developer
// guide shows them; the call behind it is made with the task role's keys, and that role's policy is enforced.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Account, Credentials } from "./account.ts";

export interface Agent {
  /** What the process needs in its environment to find it. */
  readonly env: Readonly<Record<string, string>>;
  /** May the task be stopped by a deployment or by scaling in? Not while this is true. */
  isProtected(): boolean;
  /** From now on every answer is this error, as when ECS can't be reached; undefined ends that. */
  fail(code: string | undefined): void;
  close(): Promise<void>;
}

const path = "/task-protection/v1/state";
const minute = 60_000;
const bodyLimit = 4_096;

interface Asked {
  readonly enabled: boolean;
  readonly minutes: number;
}

/** Undefined for what is no request of this kind. */
const parse = (text: string): Asked | undefined => {
  try {
    const { ProtectionEnabled: enabled, ExpiresInMinutes: minutes = 120 } = JSON.parse(text) as Record<string, unknown>;
    if (typeof enabled !== "boolean" || typeof minutes !== "number" || !Number.isInteger(minutes)) return undefined;
    return { enabled, minutes };
  } catch {
    return undefined;
  }
};

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = "";
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > bodyLimit) throw new Error("the body is too long");
  }
  return text;
};

export const openAgent = async (of: {
  readonly account: Account;
  /** The task role's keys. */
  readonly credentials: () => Credentials;
  readonly taskArn: string;
  readonly now: () => number;
}): Promise<Agent> => {
  const { account, taskArn, now } = of;
  let until = 0;
  let broken: string | undefined;
  const isProtected = (): boolean => until > now();

  const answer = (response: ServerResponse, status: number, body: object): void => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const error = (response: ServerResponse, status: number, Code: string, Message: string): void =>
    answer(response, status, { requestID: randomUUID(), error: { Arn: taskArn, Code, Message } });
  const tell = (response: ServerResponse): void =>
    answer(response, 200, {
      protection: {
        ExpirationDate: isProtected() ? new Date(until).toISOString().replace(/\.\d+Z$/, "Z") : null,
        ProtectionEnabled: isProtected(),
        TaskArn: taskArn,
      },
    });

  /** As ECS would: the call is the task role's. */
  const mayNot = (action: string): string | undefined => {
    const identity = account.key(of.credentials().accessKeyId)?.identity;
    if (identity && account.may(identity, action, taskArn)) return undefined;
    return `User: ${identity?.arn} is not authorized to perform: ${action} on resource: ${taskArn} because no identity-based policy allows the ${action} action`;
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await bodyOf(request);
    if (request.url !== path) return void response.writeHead(404).end();
    if (request.method !== "GET" && request.method !== "PUT") return void response.writeHead(405).end();
    if (broken !== undefined) return error(response, 400, broken, "on demand");
    const refusal = mayNot(request.method === "GET" ? "ecs:GetTaskProtection" : "ecs:UpdateTaskProtection");
    if (refusal !== undefined) return error(response, 400, "AccessDeniedException", refusal);
    if (request.method === "GET") return tell(response);
    const asked = parse(text);
    if (!asked || asked.minutes < 1 || asked.minutes > 2_880)
      return error(response, 400, "InvalidParameterException", "expiresInMinutes must be between 1 and 2880");
    until = asked.enabled ? now() + asked.minutes * minute : 0;
    tell(response);
  };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: { ECS_AGENT_URI: `http://127.0.0.1:${port}` },
    isProtected,
    fail: (code) => {
      broken = code;
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
};
