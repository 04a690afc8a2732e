// The versions of one secret and the staging labels on them: the part of Secrets Manager that rotation leans on.
// Rule: a label is on at most one version; AWSCURRENT never leaves a secret, and where it left, AWSPREVIOUS comes.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
import { timingSafeEqual } from "node:crypto";
import { Refusal } from "./refusal.ts";

export type SecretValue = { readonly string: string } | { readonly binary: Uint8Array };

export interface Version {
  readonly id: string;
  readonly value: SecretValue;
  readonly createdAt: number;
  labels: readonly string[];
}

export type Versions = Map<string, Version>;

const versionLimit = 100;
const keptFor = 24 * 3_600_000;

/** Adds a version, or finds the one an earlier try added: the same id with the same value is the same put. */
export function putVersion(
  versions: Versions,
  put: { id: string; value: SecretValue; labels: readonly string[]; now: number },
): Version {
  const known = versions.get(put.id);
  if (known) {
    if (sameValue(known.value, put.value)) return known;
    throw new Refusal("ResourceExistsException", "A resource with the ID you requested already exists.");
  }
  makeRoom(versions, put.now);
  // The first version is current whatever was asked for.
  const labels = versions.size === 0 ? [...new Set([...put.labels, "AWSCURRENT"])] : put.labels;
  const version: Version = { id: put.id, value: put.value, createdAt: put.now, labels: [] };
  versions.set(put.id, version);
  for (const label of labels) moveLabel(versions, label, version);
  return version;
}

/** Versions without a label are deprecated; AWS drops the oldest of them, but none younger than a day. */
function makeRoom(versions: Versions, now: number): void {
  for (const version of [...versions.values()].sort((a, b) => a.createdAt - b.createdAt)) {
    if (versions.size < versionLimit) return;
    if (version.labels.length === 0 && now - version.createdAt > keptFor) versions.delete(version.id);
  }
  if (versions.size >= versionLimit) {
    throw new Refusal(
      "LimitExceededException",
      `You've reached the limit of ${versionLimit} versions for this secret.`,
    );
  }
}

function moveLabel(versions: Versions, label: string, to: Version): void {
  const from = holder(versions, label);
  if (from === to) return;
  if (from) from.labels = from.labels.filter((held) => held !== label);
  to.labels = [...to.labels, label];
  if (label === "AWSCURRENT" && from) moveLabel(versions, "AWSPREVIOUS", from);
}

export const holder = (versions: Versions, label: string): Version | undefined =>
  [...versions.values()].find((version) => version.labels.includes(label));

/** UpdateSecretVersionStage: a compare-and-swap, because the version that loses the label must be named. */
export function updateLabel(
  versions: Versions,
  label: string,
  remove: string | undefined,
  move: string | undefined,
): void {
  const from = holder(versions, label);
  const to = move === undefined ? undefined : versions.get(move);
  if (move !== undefined && !to)
    throw new Refusal(
      "ResourceNotFoundException",
      `Secrets Manager can't find the specified secret value for VersionId: ${move}`,
    );
  if (remove === undefined && move === undefined)
    throw invalid("You must specify either RemoveFromVersionId or MoveToVersionId.");
  if (remove !== undefined && from?.id !== remove) {
    throw invalid(
      `The parameter RemoveFromVersionId is not valid. Staging label ${label} is not currently attached to version ${remove}.`,
    );
  }
  if (to && from === to) {
    if (remove !== undefined) throw invalid(`Staging label ${label} is already attached to version ${to.id}.`);
    return;
  }
  if (to && from && remove === undefined) {
    throw invalid(
      `The parameter RemoveFromVersionId can't be empty. Staging label ${label} is currently attached to version ${from.id}, so you must explicitly reference that version in RemoveFromVersionId.`,
    );
  }
  if (!to && label === "AWSCURRENT")
    throw invalid(
      "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.",
    );
  if (to) moveLabel(versions, label, to);
  else if (from) from.labels = from.labels.filter((held) => held !== label);
}

function sameValue(a: SecretValue, b: SecretValue): boolean {
  if ("string" in a !== "string" in b) return false;
  const [x, y] = [a, b].map((value) => Buffer.from("string" in value ? value.string : value.binary));
  return x !== undefined && y !== undefined && x.length === y.length && timingSafeEqual(x, y);
}

const invalid = (message: string): Refusal => new Refusal("InvalidParameterException", message);
