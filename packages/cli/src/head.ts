// How far sessions' records go by the table, and the key that signed it: as `aws dynamodb query` and `aws kms get-public-key`
// print them, so that whoever checks the audit needs nothing of ours but this program.
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Failure } from "@sallyport/core/failure";
import { rootOf, type Seal, sealMessage } from "@sallyport/core/seal";
import { Session } from "@sallyport/core/session";

export type SessionEnd = Pick<Session, "id" | "state" | "seq" | "head" | "sealed">;

const digest = { sha256: (text: string): string => createHash("sha256").update(text, "utf8").digest("hex") };

/** DynamoDB's JSON as plain values. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html */
const plain = (value: unknown): unknown => {
  const [[type, inner] = ["", undefined]] = Object.entries(value as object);
  if (type === "N") return Number(inner);
  if (type === "L") return (inner as unknown[]).map(plain);
  if (type === "M") return Object.fromEntries(Object.entries(inner as object).map(([name, one]) => [name, plain(one)]));
  return type === "NULL" ? null : inner;
};

const readJson = async (path: string, what: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (cause) {
    throw new Failure("invalid", `${path} is not ${what}`, { hint: "docs/operations.md shows the commands", cause });
  }
};

/** The sessions in the answer of `aws dynamodb query`, by id. @throws Failure `invalid` */
export const readSessions = async (path: string): Promise<ReadonlyMap<string, SessionEnd>> => {
  const answer = (await readJson(path, "the answer of aws dynamodb query")) as { Items?: unknown[] };
  const found = new Map<string, SessionEnd>();
  for (const item of answer.Items ?? []) {
    const session = Session.safeParse(plain({ M: item }));
    if (!session.success) throw new Failure("invalid", `${path} holds what is no session`, { cause: session.error });
    found.set(session.data.id, session.data);
  }
  return found;
};

/** @throws Failure `invalid` */
export const readKey = async (path: string): Promise<KeyObject> => {
  const answer = (await readJson(path, "the answer of aws kms get-public-key")) as { PublicKey?: string };
  try {
    return createPublicKey({ key: Buffer.from(answer.PublicKey ?? "", "base64"), format: "der", type: "spki" });
  } catch (cause) {
    throw new Failure("invalid", `${path} holds no public key`, { cause });
  }
};

/** Did the key sign that this session's records go so far? */
export const isSigned = (session: string, { seq, head, path, signature }: Seal, key: KeyObject): boolean =>
  verify(
    "sha256",
    sealMessage(rootOf({ session, seq, head }, path, digest)),
    { key, dsaEncoding: "der" },
    Buffer.from(signature, "base64"),
  );
