// What is trusted and until when: when this test fails, the bundle needs an update, or a database a rotation.
import { X509Certificate } from "node:crypto";
import { bundled } from "@sallyport/aws/roots";
import { expect, it } from "vitest";

const certificates = (pems: readonly string[]) =>
  pems.map((pem) => {
    const { subject, validTo, ca } = new X509Certificate(pem);
    return {
      name: /CN=(.*)/.exec(subject)?.[1] ?? subject,
      organisation: /O=(.*)/.exec(subject)?.[1],
      ends: new Date(validTo),
      ca,
    };
  });
const today = new Date("2026-11-21");

it("every certificate is an authority of Amazon, and none is of a beta", () => {
  const all = certificates([...bundled.rds, ...bundled.amazon]);
  for (const { name, organisation, ca } of all) {
    expect(ca).toBe(true);
    expect(organisation).toMatch(/^(Amazon|Starfield Technologies)/);
    expect(name).not.toMatch(/Beta|Preview/);
  }
});

it("lists what expires when: those of 2019 have, everything else lasts for ten years and more", () => {
  const all = certificates(bundled.rds);
  const expired = all.filter(({ ends }) => ends < today).map(({ name }) => name);
  expect(expired.filter((name) => !/(2019 CA|Root CA|CA)$/.test(name) || name.includes(" G1"))).toEqual([]);
  const soonest = all.filter(({ ends }) => ends >= today).sort((a, b) => a.ends.getTime() - b.ends.getTime())[0];
  expect(soonest?.ends.getUTCFullYear()).toBeGreaterThanOrEqual(2036);
});

it("every region that had an authority in 2019 has one that is good today", () => {
  const all = certificates(bundled.rds);
  const regionOf = (name: string) => /[a-z]{2}(-[a-z]+)+-\d/.exec(name)?.[0];
  const good = new Set(all.filter(({ ends }) => ends >= today).map(({ name }) => regionOf(name)));
  expect(good.size).toBeGreaterThan(20);
  for (const { name } of all.filter((one) => one.name.endsWith("2019 CA") && regionOf(one.name)))
    expect(good).toContain(regionOf(name));
});

it("the RDS set trusts Amazon's own roots too, for endpoints that ACM fronts", () => {
  for (const pem of bundled.amazon) expect(bundled.rds).toContain(pem);
});
