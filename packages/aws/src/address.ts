// Which addresses a database may have. Names come from AWS, but what a name resolves to comes from DNS: the proxy itself, its
// credentials endpoint and its neighbours on the link are never a database (S-35), unless the deployment says so.
import { BlockList, isIP } from "node:net";
import { Failure } from "@sallyport/core/failure";

/** IPv6-mapped IPv4 addresses are matched by the IPv4 ranges. */
const never: readonly (readonly [string, number, "ipv4" | "ipv6", string])[] = [
  ["0.0.0.0", 8, "ipv4", "unspecified"],
  ["127.0.0.0", 8, "ipv4", "loopback"],
  ["169.254.0.0", 16, "ipv4", "link-local"],
  ["224.0.0.0", 4, "ipv4", "multicast"],
  ["240.0.0.0", 4, "ipv4", "reserved"],
  ["::", 128, "ipv6", "unspecified"],
  ["::1", 128, "ipv6", "loopback"],
  ["fe80::", 10, "ipv6", "link-local"],
  ["ff00::", 8, "ipv6", "multicast"],
  // where EC2 answers for credentials and metadata over IPv6
  ["fd00:ec2::", 32, "ipv6", "instance metadata"],
  // IPv4 inside IPv6 in ways that are not "mapped"
  ["::", 96, "ipv6", "IPv4-compatible"],
  ["64:ff9b::", 96, "ipv6", "translated IPv4"],
  ["64:ff9b:1::", 48, "ipv6", "translated IPv4"],
  ["::ffff:0:0:0", 96, "ipv6", "translated IPv4"],
  ["2002::", 16, "ipv6", "6to4"],
  ["2001::", 32, "ipv6", "Teredo"],
];

const lists = never.map(([network, prefix, family, why]) => {
  const list = new BlockList();
  list.addSubnet(network, prefix, family);
  return { list, why };
});

/** Says why an address may not be dialled; undefined when it may. */
export type AddressRule = (address: string) => string | undefined;

/** @throws Failure `invalid` for what is not a CIDR */
export const openAddressRule = (allow: readonly string[] = []): AddressRule => {
  const allowed = new BlockList();
  for (const cidr of allow) addCidr(allowed, cidr);
  return (address) => {
    const version = isIP(address);
    if (version === 0 || address.includes("%")) return "not an address";
    const family = version === 4 ? "ipv4" : "ipv6";
    if (allowed.check(address, family)) return undefined;
    return lists.find(({ list }) => list.check(address, family))?.why;
  };
};

const addCidr = (list: BlockList, cidr: string): void => {
  const [network = "", prefix = "", ...more] = cidr.trim().split("/");
  const version = isIP(network);
  const bits = Number(prefix);
  if (version === 0 || more.length > 0 || !/^\d{1,3}$/.test(prefix) || bits > (version === 4 ? 32 : 128))
    throw new Failure("invalid", `${JSON.stringify(cidr)} is not a range of addresses`, { hint: "write 127.0.0.0/8" });
  list.addSubnet(network, bits, version === 4 ? "ipv4" : "ipv6");
};
