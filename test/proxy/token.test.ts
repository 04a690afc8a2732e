// Tokens on the plain port: one sentence for all that are no good, and a bearer's logins counted across tasks.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allow, arrive, eventually, type House, logIn, openHouse } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const itemsOf = (family: string) => house.store.items().filter((item) => item.pk.startsWith(`${family}#`));
const eventsNamed = (name: string) => itemsOf("event").filter((item) => item["name"] === name);

describe("a token that is no good", () => {
  const uniform = "ERR bad_token this token is not valid here";

  it("S-02 S-48 gets the same words whatever is wrong with it, and reaches no database", async () => {
    const { token } = await house.issue();
    const expired = await house.issue({ expiresAt: house.clock.now() - 1 });
    const future = await house.issue({ issuedAt: house.clock.now() + 600_000 });
    const revoked = await house.issue({ revokedAt: house.clock.now() });
    const bound = await house.issueBound();
    const other = token.at(-1) === "A" ? "E" : "A";
    const tokens = {
      unknown: `sly_c_${"A".repeat(43)}`,
      expired: expired.token,
      "from the future": future.token,
      revoked: revoked.token,
      "of another kind": token.replace("sly_c_", "sly_s_"),
      truncated: token.slice(0, -1),
      padded: `${token}=`,
      "other case": token === token.toUpperCase() ? token.toLowerCase() : token.toUpperCase(),
      "one character off": token.slice(0, -1) + other,
      "bound, as a password": bound.token,
      empty: "",
      __proto__: "__proto__",
    };
    for (const [what, one] of Object.entries(tokens)) {
      const { answer } = await logIn(house.proxy, one);
      expect([what, answer]).toEqual([what, uniform]);
    }
    expect(house.database.logins).toEqual([]);
    expect(itemsOf("session")).toEqual([]);
    expect(itemsOf("spend")).toEqual([]);
  });

  it("S-02 of a megabyte is not even looked up", async () => {
    const client = await arrive(house.proxy);
    client.say(`LOGIN reader orders ${"x".repeat(1_000_000)}`);
    expect(await client.hear()).toBe("end");
    await eventually(() => house.proxy.counts().waiting === 0);
  });

  it("S-48 costs a read of the table whether or not it could be ours", async () => {
    const reads: string[] = [];
    const { get, getMany } = house.store;
    const familyOf = ({ pk }: { pk: string }): string => pk.split("#")[0] ?? "";
    const spied = await house.beside({
      store: {
        ...house.store,
        get: async (key) => {
          reads.push(familyOf(key));
          return get(key);
        },
        getMany: async (wanted) => {
          reads.push(wanted.map(familyOf).join(" and "));
          return getMany(wanted);
        },
      },
    });
    for (const token of ["short", `sly_c_${"A".repeat(43)}`]) {
      reads.length = 0;
      await logIn(spied, token);
      expect(reads).toEqual(["epoch and token"]);
    }
  });

  it("S-08 is refused when it is revoked while it is being redeemed", async () => {
    const { token, id } = await house.issue();
    const { getMany } = house.store;
    let revoked = false;
    const overtaken = await house.beside({
      store: {
        ...house.store,
        getMany: async (wanted) => {
          if (!revoked) await house.revoke(id);
          revoked = true;
          return getMany(wanted);
        },
      },
    });
    expect((await logIn(overtaken, token)).answer).toBe(uniform);
    expect(house.database.logins).toEqual([]);
  });

  it("S-13 is not looked up any more after too many from one address", async () => {
    const strict = await house.beside({
      limits: { failures: { total: { burst: 100, perSecond: 0 }, each: { burst: 2, perSecond: 1 } } },
    });
    const { token } = await house.issue();
    for (let at = 0; at < 2; at += 1) expect((await logIn(strict, "wrong")).answer).toMatch(/bad_token/);
    expect((await logIn(strict, token)).answer).toMatch(/^ERR too_many/);
    house.steady.move(1_000);
    const { answer, client } = await logIn(strict, token);
    expect(answer).toMatch(/^WELCOME/);
    client.socket.destroy();
  });

  it("S-40 is printed nowhere", async () => {
    const { token } = await house.issue({ revokedAt: 1 });
    const good = await house.issue();
    await logIn(house.proxy, token);
    house.database.behave("refuse");
    await logIn(house.proxy, good.token);
    const everything = JSON.stringify([house.log, house.store.items(), house.sink.records]);
    for (const canary of [token, good.token, "canary-password", "deployment-cancel-key"])
      expect(everything).not.toContain(canary);
  });
});

describe("S-04 a bearer token", () => {
  it("S-04 spends its last login once, whoever of two tasks asks", async () => {
    const other = await house.beside();
    const { token } = await house.issue({ way: { bearer: 1 } });
    const answers = await Promise.all([house.proxy, other].map((proxy) => logIn(proxy, token)));
    expect(answers.filter(({ answer }) => answer.startsWith("WELCOME"))).toHaveLength(1);
    expect(answers.filter(({ answer }) => answer.startsWith("ERR bad_token"))).toHaveLength(1);
    for (const { client } of answers) client.socket.destroy();
  });

  it("S-04 is refused once its logins are used, also after its sessions ended", async () => {
    const { token } = await house.issue({ way: { bearer: 2 } });
    for (let at = 0; at < 2; at += 1) {
      const { client, answer } = await logIn(house.proxy, token);
      expect(answer).toMatch(/^WELCOME/);
      client.socket.end();
      await client.closed;
    }
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR bad_token/);
    await eventually(() => eventsNamed("session.deny").length === 1);
    expect(eventsNamed("session.deny")).toMatchObject([{ actor: "ana", details: { database: "orders" } }]);
    const refused = house.log.filter(({ message }) => message === "a session did not begin");
    expect(refused).toMatchObject([{ facts: { cause: "used up" } }]);
  });

  it("is refused where the roles allow none", async () => {
    await house.setRole({ allow, options: { bearer: false } });
    const { token } = await house.issue();
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR denied/);
  });
});
