import { checkPassword, hashPassword } from "@sallyport/identity/password";
import { expect, it } from "vitest";

it("a password is known again by its hash, another is not", async () => {
  const hash = await hashPassword("correct horse");
  expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  expect(await checkPassword(hash, "correct horse")).toBe(true);
  for (const wrong of ["correct horse ", "Correct horse", "correct hors", "", "correct horse\0"])
    expect(await checkPassword(hash, wrong)).toBe(false);
});

it("two hashes of one password differ", async () => {
  expect(await hashPassword("correct horse")).not.toBe(await hashPassword("correct horse"));
});

it("the same characters are the same password, however a keyboard composes them", async () => {
  expect(await checkPassword(await hashPassword("caf\u00e9"), "cafe\u0301")).toBe(true);
});

// test.c of the reference implementation (github.com/P-H-C/phc-winner-argon2)
it("a hash of the reference implementation is understood", async () => {
  const hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
  expect(await checkPassword(hash, "password")).toBe(true);
});

it.each([
  undefined,
  "",
  "plain",
  "$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAA",
  "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
  `$argon2id$v=19$m=19456,t=2,p=1$${"A".repeat(22)}$${"A".repeat(43)}`,
])("S-48 %j lets nobody in, and costs as much as a real one", async (hash) => {
  const real = await hashPassword("correct horse");
  const fastest = async (of: string | undefined): Promise<number> => {
    const times: number[] = [];
    for (let at = 0; at < 3; at++) {
      const startedAt = performance.now();
      expect(await checkPassword(of, "something else")).toBe(false);
      times.push(performance.now() - startedAt);
    }
    return Math.min(...times);
  };
  // argon2 is all of it: without it this would be a thousandth
  expect(await fastest(hash)).toBeGreaterThan((await fastest(real)) / 5);
});
