// Secrets Manager in memory, behind the client that the real vault talks to: the operations it uses, with AWS's own rules for
// versions and stages, and nothing of the network. Small and quick, so that thousands of rotations fit into a test.
import type { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

export interface StoredSecret {
  readonly name: string;
  /** Another one for each secret of the same name. */
  readonly arn: string;
  readonly versions: Map<string, { readonly value: string; readonly createdAt: number }>;
  readonly stages: Map<string, string>;
  readonly tags: readonly { readonly Key?: string; readonly Value?: string }[];
  deletedAt?: number;
}
interface Input {
  readonly Name?: string;
  readonly SecretId?: string;
  readonly SecretString?: string;
  readonly ClientRequestToken?: string;
  readonly VersionStages?: readonly string[];
  readonly VersionStage?: string;
  readonly VersionId?: string;
  readonly MoveToVersionId?: string;
  readonly RemoveFromVersionId?: string;
  readonly Tags?: StoredSecret["tags"];
}
/** What happened to a secret: told after it did. */
export interface SecretChange {
  readonly name: string;
  readonly what: "created" | "version" | "current" | "deleted" | "restored";
  readonly version?: string;
  readonly from?: string;
}

const [current, previous] = ["AWSCURRENT", "AWSPREVIOUS"];

class AwsError extends Error {
  constructor(name: string) {
    super(name);
    this.name = name;
  }
}
const invalid = () => new AwsError("InvalidParameterException");

export const openFakeSecretsManager = (
  now: () => number = Date.now,
  told: (change: SecretChange) => void = () => {},
) => {
  const secrets = new Map<string, StoredSecret>();
  let made = 0;
  const known = ({ SecretId = "" }: Input): StoredSecret => {
    const [name = "", mark] = SecretId.split("#");
    const found = secrets.get(name);
    if (!found || (mark !== undefined && found.arn !== SecretId)) throw new AwsError("ResourceNotFoundException");
    return found;
  };
  const live = (input: Input): StoredSecret => {
    const found = known(input);
    if (found.deletedAt !== undefined) throw new AwsError("InvalidRequestException");
    return found;
  };
  const stagesOf = ({ stages }: StoredSecret, version: string): string[] =>
    [...stages].flatMap(([stage, holder]) => (holder === version ? [stage] : []));
  const moveCurrent = (name: string, secret: StoredSecret, to: string): void => {
    const from = secret.stages.get(current);
    if (from === to) return;
    secret.stages.set(current, to);
    if (from !== undefined) secret.stages.set(previous, from);
    told({ name, what: "current", version: to, ...(from !== undefined && { from }) });
  };

  const operations: Record<string, (input: Input) => object> = {
    CreateSecretCommand({ Name = "", SecretString = "", Tags = [], ClientRequestToken }) {
      const found = secrets.get(Name);
      if (found)
        throw new AwsError(found.deletedAt === undefined ? "ResourceExistsException" : "InvalidRequestException");
      const version = ClientRequestToken ?? `first-${++made}`;
      const arn = `${Name}#${++made}`;
      const secret = { name: Name, arn, versions: new Map(), stages: new Map([[current, version]]), tags: Tags };
      secret.versions.set(version, { value: SecretString, createdAt: now() });
      secrets.set(Name, secret);
      told({ name: Name, what: "created", version });
      return {};
    },
    DescribeSecretCommand(input) {
      const secret = known(input);
      const VersionIdsToStages: Record<string, string[]> = {};
      for (const version of new Set(secret.stages.values())) VersionIdsToStages[version] = stagesOf(secret, version);
      const gone = secret.deletedAt === undefined ? {} : { DeletedDate: new Date(secret.deletedAt) };
      return { ARN: secret.arn, Tags: secret.tags, VersionIdsToStages, ...gone };
    },
    GetSecretValueCommand(input) {
      const secret = live(input);
      const version = input.VersionId ?? secret.stages.get(input.VersionStage ?? current);
      const found = version === undefined ? undefined : secret.versions.get(version);
      if (version === undefined || !found) throw new AwsError("ResourceNotFoundException");
      return { SecretString: found.value, VersionId: version, VersionStages: stagesOf(secret, version) };
    },
    PutSecretValueCommand(input) {
      const secret = live(input);
      const { name } = secret;
      const { ClientRequestToken: version = "", SecretString: value = "" } = input;
      const found = secret.versions.get(version);
      if (found && found.value !== value) throw new AwsError("ResourceExistsException");
      if (found) return {};
      const young = [...secret.versions.values()].filter(({ createdAt }) => now() - createdAt < 86_400_000);
      if (young.length >= 100) throw new AwsError("LimitExceededException");
      secret.versions.set(version, { value, createdAt: now() });
      told({ name, what: "version", version });
      for (const stage of input.VersionStages ?? [current])
        if (stage === current) moveCurrent(name, secret, version);
        else secret.stages.set(stage, version);
      return {};
    },
    UpdateSecretVersionStageCommand(input) {
      const secret = live(input);
      const { name } = secret;
      const { VersionStage: stage = "", MoveToVersionId: to, RemoveFromVersionId: from } = input;
      const holder = secret.stages.get(stage);
      if (to !== undefined && !secret.versions.has(to)) throw new AwsError("ResourceNotFoundException");
      if (from !== undefined && holder !== from) throw invalid();
      if (to === undefined ? stage === current : holder === to || (holder !== undefined && from === undefined))
        throw invalid();
      if (to === undefined) secret.stages.delete(stage);
      else if (stage === current) moveCurrent(name, secret, to);
      else secret.stages.set(stage, to);
      return {};
    },
    DeleteSecretCommand(input) {
      const secret = live(input);
      secret.deletedAt = now();
      told({ name: secret.name, what: "deleted" });
      return {};
    },
    RestoreSecretCommand(input) {
      const secret = known(input);
      delete secret.deletedAt;
      told({ name: secret.name, what: "restored" });
      return {};
    },
  };

  const put = (name: string, value: string, tags: StoredSecret["tags"]): void => {
    const version = `given-${++made}`;
    const versions = new Map([[version, { value, createdAt: now() }]]);
    secrets.set(name, { name, arn: `${name}#${made}`, versions, stages: new Map([[current, version]]), tags });
  };
  const send = async (command: object): Promise<unknown> => {
    const run = operations[command.constructor.name];
    if (!run) throw new Error(`the fake knows no ${command.constructor.name}`);
    return run((command as { readonly input: Input }).input);
  };
  return {
    send,
    /** What the vault takes for a client. */
    client: { send } as unknown as SecretsManagerClient,
    secrets,
    current: (name: string): { readonly version: string; readonly value: string } | undefined =>
      valueAt(secrets.get(name), current),
    previous: (name: string) => valueAt(secrets.get(name), previous),
    /** What people do by hand. */
    forceDelete: (name: string): void => void secrets.delete(name),
    plant: (name: string, value: string): void => put(name, value, []),
    /** One of ours, as an earlier rotation left it. */
    give: (name: string, value: string): void => put(name, value, [{ Key: "sallyport/owner", Value: "sallyport" }]),
  };
};
export type FakeSecretsManager = ReturnType<typeof openFakeSecretsManager>;

const valueAt = (secret: StoredSecret | undefined, stage: string) => {
  const version = secret?.stages.get(stage);
  const value = version === undefined ? undefined : secret?.versions.get(version)?.value;
  return secret?.deletedAt !== undefined || version === undefined || value === undefined
    ? undefined
    : { version, value };
};
