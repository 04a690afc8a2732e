import { createHash } from "node:crypto";
import { reader } from "@sallyport/wire/bytes";
import { answerDigest } from "@sallyport/wire/postgres/digest";
import { postgres } from "@sallyport/wire/postgres/postgres";
import { describe, expect, test } from "vitest";
import { challenge, clear, failed, grantFor, int32, type link, message, upstreamTo } from "../door.ts";

const salt = Buffer.from("salt and pepper!");
const nonce = Buffer.from("their nonce");
const request = (algorithm: number): Buffer =>
  Buffer.concat([int32(algorithm), int32(salt.length), salt, int32(nonce.length), nonce]);

describe("Redshift's digest", () => {
  test("is the salted hash of the password, hashed with both nonces", () => {
    const said = answerDigest(reader(request(0)), "pencil", "42");
    const hash = (...parts: readonly (string | Buffer)[]) =>
      parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest();
    const proof = hash(hash("pencil", salt), nonce, "42");
    expect(said).toEqual(message("d", int32(32), proof, int32(2), "42"));
  });

  test("S-33 another hash, and lengths that lie, are refused", () => {
    expect(() => answerDigest(reader(request(1)), "pencil")).toThrow("only SHA-256");
    for (const lie of [-1, 1_000_000])
      expect(() => answerDigest(reader(Buffer.concat([int32(0), int32(lie), salt])), "pencil")).toThrow();
  });

  /** A server that asks for it and hears the answer. */
  const ask = (credential: Parameters<typeof upstreamTo>[1]) => {
    let steps = 0;
    const stage = upstreamTo((made: ReturnType<typeof link>) => {
      made.theirs.on("data", () => {
        const ready = Buffer.concat([message("R", int32(0)), message("Z", "I")]);
        made.theirs.write([Buffer.from("S"), message("R", int32(13), request(0)), ready][steps++] ?? "");
      });
    }, credential);
    return { stage, done: postgres.login(stage.upstream, grantFor()) };
  };

  test("is answered with a real password, of which nothing is sent", async () => {
    const { stage, done } = ask(challenge());
    await done;
    const said = stage.dialled[0]!.received();
    expect(said.includes("d\0\0\0")).toBe(true);
    expect(said.includes("pencil")).toBe(false);
  });

  test("S-33 is not answered with an IAM token", async () => {
    const { done } = ask(clear());
    expect((await failed(done)).code).toBe("upstream_refused");
  });

  test("a refusal says what the kind says will help", async () => {
    const error = message("E", "C42501\0Mpermission denied for database dev\0\0");
    let steps = 0;
    const stage = upstreamTo(
      (made) => {
        made.theirs.on("data", () => made.theirs.write([Buffer.from("S"), error][steps++] ?? ""));
      },
      { ...(challenge() as { as: "password" } & object), help: "GRANT it" } as ReturnType<typeof challenge>,
    );
    expect(await failed(postgres.login(stage.upstream, grantFor()))).toMatchObject({ hint: "GRANT it" });
  });
});
