// Why a database can't be reached or trusted, in words that say what to look at. Pure: from an error's code to a Failure.
import { BlockList, isIP } from "node:net";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { errorName } from "./client.ts";

type Target = Pick<Database, "name" | "endpoint" | "region" | "vpcId">;
interface Tried {
  readonly address: string;
}

const inside = new BlockList();
for (const [network, prefix] of [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
] as const)
  inside.addSubnet(network, prefix);
inside.addSubnet("fc00::", 7, "ipv6");
const isInside = ({ address }: Tried): boolean => inside.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");

const whereOf = ({ region, vpcId }: Target): string => `${vpcId === undefined ? "its VPC" : vpcId} in ${region}`;

/** The name resolved to nothing, or none of its addresses took a connection. `error` is the last one's. */
export const unreachable = (target: Target, tried: readonly Tried[], error: unknown): Failure => {
  const { host, port } = target.endpoint;
  const code = errorName(error);
  const say = (what: string, hint: string): Failure =>
    new Failure("upstream_unreachable", `${target.name}: ${what}`, { hint, cause: error });
  if (tried.length === 0)
    return ["ENOTFOUND", "EAI_NODATA"].includes(code)
      ? say(`${host} does not resolve`, "it may have been deleted: run discovery, and look whether it still exists")
      : say(`${host} could not be looked up (${code})`, "look whether the proxy's DNS works");
  const address = tried.map((one) => one.address).join(", ");
  if (code === "ECONNREFUSED")
    return say(
      `nothing listens on ${address} port ${port}`,
      "it may be stopped, starting or failing over: look at its status, then try again",
    );
  if (code === "ETIMEDOUT") {
    const first = "a security group does not let the proxy in, or its subnet has no route there";
    return say(
      `${address} port ${port} does not answer`,
      tried.every(isInside)
        ? `${first}; the address is a private one: the proxy must be in ${whereOf(target)} or connected to it`
        : `${first}; the address is a public one: the proxy needs a way out to the internet`,
    );
  }
  if (["EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"].includes(code))
    return say(`there is no route to ${address}`, `the proxy must be in ${whereOf(target)} or connected to it`);
  return say(`connecting to ${address} port ${port} failed (${code || "unknown error"})`, "try again");
};

/** The name resolved to addresses that no database has. */
export const notAddress = (target: Target, found: readonly (Tried & { refused: string | undefined })[]): Failure =>
  new Failure("upstream_unreachable", `${target.name}: its name does not resolve to a database's address`, {
    hint:
      found.length === 0
        ? "it may have been deleted: run discovery"
        : "somebody may have changed DNS for this name: look at the resolver the proxy uses",
    cause: found.map(({ address, refused }) => `${address} is ${refused}`).join(", "),
  });

const rotate = "rotate it to rds-ca-rsa2048-g1, rds-ca-rsa4096-g1 or rds-ca-ecc384-g1";
const unknownIssuer = [
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_UNTRUSTED",
];

/** TLS did not come about, or not with whom it should. */
export const untrusted = (target: Target, error: unknown): Failure => {
  const code = errorName(error);
  const say = (
    what: string,
    hint: string,
    failure: "upstream_untrusted" | "upstream_unreachable" = "upstream_untrusted",
  ) => new Failure(failure, `${target.name}: ${what}`, { hint, cause: error });
  if (code === "CERT_HAS_EXPIRED")
    return say(
      "its certificate, or the authority that signed it, has expired",
      `it may still be from rds-ca-2019, which ended in 2024: ${rotate}`,
    );
  if (code === "CERT_NOT_YET_VALID")
    return say("its certificate is not valid yet", "look whether the proxy's clock is right");
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return say(
      `its certificate is not for ${target.endpoint.verifyName}`,
      `something else answers at this address, or the certificate is an old one: ${rotate}`,
    );
  if (unknownIssuer.includes(code))
    return say(
      "its certificate is not from an authority of AWS",
      "something else may answer at this address; if you keep your own bundle, look whether it is complete",
    );
  if (code === "EARLY_BYTES")
    return say("it sent bytes before TLS began", "something on the way may be tampering: nothing was sent");
  if (
    /WRONG_VERSION|PACKET_LENGTH|NO_PROTOCOLS|UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|UNEXPECTED_MESSAGE|RECORD/.test(
      code,
    )
  )
    return say("it does not answer with TLS 1.2 or later", "look whether the endpoint is the database's own");
  if (/NO_APPLICATION_PROTOCOL/.test(code))
    return say("it does not speak the protocol asked for", "look at its version");
  if (["ECONNRESET", "EPIPE", "ETIMEDOUT"].includes(code))
    return say(
      code === "ETIMEDOUT"
        ? "it does not answer the TLS handshake"
        : "it closed the connection during the TLS handshake",
      "it may be starting or overloaded: try again",
      "upstream_unreachable",
    );
  return say(`TLS failed (${code || "unknown error"})`, "look whether the endpoint is the database's own");
};
