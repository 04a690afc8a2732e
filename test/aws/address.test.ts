import { openAddressRule } from "@sallyport/aws/address";
import { Failure } from "@sallyport/core/failure";
import { describe, expect, it } from "vitest";

describe("S-35 addresses that no database has", () => {
  it.each([
    ["127.0.0.1", "loopback"],
    ["127.255.255.254", "loopback"],
    ["::1", "loopback"],
    ["0.0.0.0", "unspecified"],
    ["0.1.2.3", "unspecified"],
    ["::", "unspecified"],
    ["169.254.169.254", "link-local"],
    ["169.254.170.2", "link-local"],
    ["fe80::1", "link-local"],
    ["febf::1", "link-local"],
    ["224.0.0.1", "multicast"],
    ["ff02::1", "multicast"],
    ["255.255.255.255", "reserved"],
    ["fd00:ec2::254", "instance metadata"],
    ["::ffff:127.0.0.1", "loopback"],
    ["::ffff:7f00:1", "loopback"],
    ["::FFFF:169.254.169.254", "link-local"],
    ["0:0:0:0:0:ffff:a9fe:a9fe", "link-local"],
    ["::127.0.0.1", "IPv4-compatible"],
    ["64:ff9b::169.254.169.254", "translated IPv4"],
    ["64:ff9b:1::169.254.169.254", "translated IPv4"],
    ["::ffff:0:169.254.169.254", "translated IPv4"],
    ["2001:0:7f00:1::", "Teredo"],
    ["2002:7f00:1::1", "6to4"],
    ["fe80::1%eth0", "not an address"],
    ["localhost", "not an address"],
    ["127.1", "not an address"],
    ["0x7f000001", "not an address"],
    ["", "not an address"],
  ])("%s is %s", (address, why) => expect(openAddressRule()(address)).toBe(why));

  it.each([
    "10.0.3.4",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "52.30.1.2",
    "::ffff:10.0.0.1",
    "2a05:d018::1",
    "fd12::1",
  ])("%s may be dialled", (address) => expect(openAddressRule()(address)).toBeUndefined());

  it("an allowed range opens that range and nothing else", () => {
    const refuses = openAddressRule(["127.0.0.0/8", "::1/128"]);
    expect(["127.0.0.9", "::ffff:127.0.0.1", "::1"].map(refuses)).toEqual([undefined, undefined, undefined]);
    expect(refuses("169.254.169.254")).toBe("link-local");
    expect(refuses("0.0.0.0")).toBe("unspecified");
  });

  it.each(["", "127.0.0.1", "127.0.0.0/33", "::/129", "127.0.0.0/8/9", "localhost/8", "127.0.0.0/ 8", "127.0.0.0/-1"])(
    "%j is not a range",
    (cidr) => expect(() => openAddressRule([cidr])).toThrow(Failure),
  );
});
