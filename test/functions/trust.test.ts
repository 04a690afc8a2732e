// GET /v1/trust, and where the anchors in an answer to connect come from.
import { keys } from "@sallyport/core/family";
import { openApi } from "@sallyport/functions/api";
import { trustVerbs } from "@sallyport/functions/routes/trust";
import { describe, expect, it } from "vitest";
import { makeRole } from "../core/make.ts";
import { day, openOffice } from "./office.ts";
import { context, httpEvent, makeUser } from "./world.ts";

const issuedNetworks = {
  default: { gate: { host: "gate.test", port: 7443 }, direct: { host: "direct.test", ports: { postgres: 5432 } } },
};
const trustOf = (office: ReturnType<typeof openOffice>, networks = issuedNetworks as object) =>
  trustVerbs.trust({ world: { ...office.worldOf("api"), networks: networks as typeof issuedNetworks }, from: "" }, {});

describe("GET /v1/trust", () => {
  it("asks for no login, and tells of a certificate of one's own what the settings say", async () => {
    const office = openOffice();
    const { status, body } = await office.call("trust", {});
    expect([status, body]).toEqual([200, { ca: "CA", pins: ["sha256/pin"] }]);
  });
  it("tells what certify has published, and nothing else of it", async () => {
    const office = openOffice();
    const { ca, pins } = await office.run();
    expect(await trustOf(office)).toEqual({ ca, pins });
  });
  it("S-34 tells both authorities while one takes over from the other", async () => {
    const office = openOffice();
    await office.run();
    office.changeKey();
    const { ca } = await office.run();
    expect(ca.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect((await trustOf(office)).ca).toBe(ca);
  });
  it("adds a network's own certificate to the issued one; where the system's roots will do there is no ca", async () => {
    const office = openOffice();
    const { ca, pins } = await office.run();
    const own = { gate: { host: "own.test", port: 1, pins: ["sha256/own"] } };
    expect(await trustOf(office, { ...issuedNetworks, own })).toEqual({ ca, pins: [...pins, "sha256/own"] });
    expect(await trustOf(office, { own })).toEqual({ pins: ["sha256/own"] });
  });
  it("leaves out what has expired", async () => {
    const office = openOffice();
    await office.run();
    office.clock.pass(31 * day);
    const { pins } = await trustOf(office);
    expect(pins).toEqual([(await office.trust())?.next?.pin]);
  });
  it.each<[string, (office: ReturnType<typeof openOffice>) => Promise<unknown>, string]>([
    ["before the first certificate", async () => {}, "unavailable"],
    [
      "with an item that can't be read",
      (office) => office.table.write({ put: { ...keys.trust(), v: 1, roots: "x" } }),
      "internal",
    ],
    [
      "with an item of a version that is not known",
      (office) => office.table.write({ put: { ...keys.trust(), v: 9, revision: 1, roots: [], leaves: [] } }),
      "internal",
    ],
  ])("fails closed %s", async (_, arrange, code) => {
    const office = openOffice();
    await arrange(office);
    await expect(trustOf(office)).rejects.toMatchObject({ code });
  });
});

describe("an answer to connect", () => {
  const arrange = async () => {
    const office = openOffice();
    await office.addProxy();
    await office.addDatabases({});
    await office.addRoles(
      makeRole("dev", { allow: { db_labels: { env: "dev" }, db_users: ["reader"], db_names: ["orders"] } }),
    );
    const token = await office.loginAs(makeUser("ana", ["dev"]));
    return { office, token };
  };
  it("holds what is published at that moment, for the gate and the plain port", async () => {
    const { office, token } = await arrange();
    const { ca, pins } = await office.run();
    const api = openApi({ ...office.worldOf("api"), networks: issuedNetworks }, office.log);
    const ask = async () => {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const event = httpEvent({ method: "POST", path: "/v1/tokens", headers, body: '{"database": "orders"}' });
      const answer = await api(event, context);
      return { status: answer.statusCode, body: JSON.parse(answer.body) as Record<string, unknown> };
    };
    expect((await ask()).body).toMatchObject({
      gate: { host: "gate.test", port: 7443, ca, pins },
      direct: { host: "direct.test", port: 5432, ca },
    });
    await office.table.write({ remove: keys.trust() });
    const refused = await ask();
    expect(refused.status).toBe(503);
    expect(refused.body).toMatchObject({ error: { code: "unavailable", hint: expect.stringContaining("certify") } });
    // and no token was issued for nowhere to go
    expect(office.events("token.issue")).toHaveLength(1);
  });
});
