// What ECS tells a task of itself, by its metadata endpoint (version 4). Asked once, at the start.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html
import { Failure } from "@sallyport/core/failure";
import * as z from "zod";

const patience = 5_000;

const Metadata = z.object({
  Networks: z.array(z.object({ IPv4Addresses: z.array(z.string().min(1)).min(1) })).min(1),
});

const Definition = z.object({ Revision: z.coerce.number().int().min(0) });

/** The revision of the task definition that this task runs: the next deployment's is higher. @throws Failure `unavailable` */
export const readTaskRevision = async (endpoint: string): Promise<number> => {
  try {
    const answer = await fetch(`${endpoint}/task`, { signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    return Definition.parse(await answer.json()).Revision;
  } catch (cause) {
    throw new Failure("unavailable", "ECS does not tell this task's revision", {
      hint: "set SALLYPORT_REVISION",
      cause,
    });
  }
};

/** The task's private address. @throws Failure `unavailable` */
export const readTaskAddress = async (endpoint: string): Promise<string> => {
  try {
    const answer = await fetch(endpoint, { signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const [network] = Metadata.parse(await answer.json()).Networks;
    return network?.IPv4Addresses[0] ?? "";
  } catch (cause) {
    throw new Failure("unavailable", "ECS does not tell this task's address", {
      hint: "set SALLYPORT_PEER_ADDRESS",
      cause,
    });
  }
};
