// The one change the laptop's RDS makes: IAM authentication switched on or off, at once. It takes its time as on AWS, and while
// it lasts, or anything else does, the next one is refused.
import type { DBCluster, DBInstance, ModifyDBClusterMessage, ModifyDBInstanceMessage } from "@aws-sdk/client-rds";
import { Refusal } from "./refusal.ts";

/** How long a change takes here; on AWS it is a minute or more. */
const modifyingFor = 60_000;

/** A record as it is now, and what of it is different from a time on. */
export interface Changed<Shape> {
  readonly shape: Shape;
  readonly later: readonly { readonly at: number; readonly fields: Partial<Shape> }[];
}

export function changeInstance(shape: DBInstance, input: ModifyDBInstanceMessage, now: number): Changed<DBInstance> {
  const { DBInstanceIdentifier: id, EnableIAMDatabaseAuthentication, ApplyImmediately, ...others } = input;
  const iam = switchOf(EnableIAMDatabaseAuthentication, ApplyImmediately, others);
  if (shape.DBClusterIdentifier)
    throw new Refusal(
      "InvalidParameterCombination",
      "IAM Database Authentication is a setting of the DB cluster: modify the cluster instead of its members.",
      400,
    );
  if (shape.DBInstanceStatus !== "available")
    throw new Refusal("InvalidDBInstanceStateFault", `Database instance ${id} is not in available state.`, 400);
  const done = { IAMDatabaseAuthenticationEnabled: iam, PendingModifiedValues: {} };
  return {
    shape: {
      ...shape,
      DBInstanceStatus: "modifying",
      PendingModifiedValues: { IAMDatabaseAuthenticationEnabled: iam },
    },
    later: [{ at: now + modifyingFor, fields: { ...done, DBInstanceStatus: "available" } }],
  };
}

export function changeCluster(shape: DBCluster, input: ModifyDBClusterMessage, now: number): Changed<DBCluster> {
  const { DBClusterIdentifier: id, EnableIAMDatabaseAuthentication, ApplyImmediately, ...others } = input;
  const iam = switchOf(EnableIAMDatabaseAuthentication, ApplyImmediately, others);
  if (shape.EngineMode === "serverless")
    throw new Refusal(
      "InvalidParameterCombination",
      "IAM Database Authentication is not supported with the serverless engine mode.",
      400,
    );
  if (shape.Status !== "available")
    throw new Refusal("InvalidDBClusterStateFault", `DB cluster ${id} is not in available state.`, 400);
  const done = { IAMDatabaseAuthenticationEnabled: iam, PendingModifiedValues: {} };
  return {
    shape: { ...shape, Status: "modifying", PendingModifiedValues: { IAMDatabaseAuthenticationEnabled: iam } },
    later: [{ at: now + modifyingFor, fields: { ...done, Status: "available" } }],
  };
}

/** Fail closed: a change this account does not know has not succeeded. */
function switchOf(iam: boolean | undefined, immediately: boolean | undefined, others: object): boolean {
  if (iam === undefined || immediately !== true || Object.values(others).some((value) => value !== undefined))
    throw new Refusal("NotImplemented", "the laptop account switches IAM authentication, at once, and no more", 501);
  return iam;
}
