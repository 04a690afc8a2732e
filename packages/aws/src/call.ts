// What an error of an AWS API means to whoever asked for a listing or a change: a missing permission with the statement to add,
// a region without the service, or something that passes.
import { Failure } from "@sallyport/core/failure";
import { errorName, isAccessDenied } from "./client.ts";

/** The service has no address in this region: there is nobody to ask. */
export const isNowhere = (thrown: unknown): boolean =>
  thrown instanceof Failure && thrown.details?.["nowhere"] === true;

/** `action` begins with the service: `rds:DescribeDBInstances`. */
export const wordCall = (thrown: unknown, action: string, region: string, resource = "*"): Failure => {
  if (thrown instanceof Failure) return thrown;
  const name = errorName(thrown);
  if (isAccessDenied(thrown))
    return new Failure("denied", `${action} is not allowed in ${region}`, {
      hint: `add to the policy: ${JSON.stringify({ Effect: "Allow", Action: action, Resource: resource })}`,
      cause: thrown,
    });
  if (name === "ENOTFOUND")
    return new Failure("unavailable", `${action} has nobody to ask in ${region}`, {
      details: { nowhere: true },
      cause: thrown,
    });
  const disabled = ["InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"].includes(name);
  return new Failure("unavailable", `${action} in ${region} failed (${name || "unknown error"})`, {
    hint: disabled ? `look whether the account has ${region} switched on` : "it is tried again with the next run",
    cause: thrown,
  });
};
