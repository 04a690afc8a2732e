// certify: what it issues, when it renews, what it publishes first, and that neither a second run nor a kill disturbs it.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { inspect } from "node:util";
import { keys } from "@sallyport/core/family";
import { secret } from "@sallyport/core/secret";
import { issuer } from "@sallyport/functions/issuer";
import { describe, expect, it } from "vitest";
import { day, issued, openOffice, secretName, serialOf, type TestOffice, takes } from "./office.ts";

const hour = day / 24;
const shownBy = async (office: TestOffice) => (await office.shown()) ?? expect.unreachable();

describe("the first run", () => {
  it("makes a root, a certificate for the networks' hosts, and the key of the next, and publishes all three", async () => {
    const office = openOffice();
    const { ca, pins, expiresAt } = await office.run();
    const { cert, key } = await shownBy(office);
    const [leaf, root] = [new X509Certificate(cert), new X509Certificate(ca)];
    expect(leaf.checkIssued(root) && leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect([leaf.checkHost("gate.test"), leaf.checkHost("direct.test"), leaf.checkHost("other.test")]).toEqual([
      "gate.test",
      "direct.test",
      undefined,
    ]);
    expect(Math.round((expiresAt - office.clock.now()) / day)).toBe(30);
    expect(Date.parse(leaf.validFrom)).toBeLessThan(office.clock.now());
    expect(pins).toHaveLength(2);
    expect(pins[0]).toBe(issuer.readLeaf(cert)?.pin);
    expect(await office.published()).toEqual({ ca, pins });
  });

  it("makes a root that may sign leaves and nothing else, and a leaf that may sign nothing", async () => {
    const office = openOffice();
    const { ca } = await office.run();
    const { cert } = await shownBy(office);
    const text = (pem: string) => inspect(new X509Certificate(pem).toLegacyObject());
    expect([new X509Certificate(ca).ca, new X509Certificate(cert).ca]).toEqual([true, false]);
    expect(new X509Certificate(cert).keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    for (const pem of [ca, cert]) expect(text(pem)).toContain("prime256v1");
  });

  it("is for addresses too, and for a name longer than a CN may be", async () => {
    const long = `${"a".repeat(60)}.elb.eu-west-1.amazonaws.com`;
    const office = openOffice({ default: { gate: { host: long, port: 1 }, direct: { host: "192.0.2.7", ports: {} } } });
    await office.run();
    const leaf = new X509Certificate((await shownBy(office)).cert);
    expect([leaf.checkHost(long), leaf.checkIP("192.0.2.7")]).toEqual([long, "192.0.2.7"]);
  });

  it("does nothing where every network has a certificate of its own", async () => {
    const office = openOffice({ default: { gate: { host: "gate.test", port: 1, pins: ["sha256/own"] } } });
    expect(await office.run()).toMatchObject({ steps: [] });
    expect(office.table.items()).toEqual([]);
    expect(await office.vault.describe(secretName)).toBeUndefined();
  });
});

describe("as time goes by", () => {
  it("nothing is done until ten days before the end; then the key that was announced is the one that is used", async () => {
    const office = openOffice();
    await office.run();
    const first = await shownBy(office);
    const announced = (await office.trust())?.next?.pin;
    office.clock.pass(20 * day - hour);
    expect((await office.run()).steps).toEqual([]);
    office.clock.pass(hour);
    await office.run();
    const second = await shownBy(office);
    expect(serialOf(second.cert)).not.toBe(serialOf(first.cert));
    expect(issuer.readLeaf(second.cert)?.pin).toBe(announced);
    const { pins } = await office.published();
    expect(pins).toHaveLength(3);
    expect(pins).toContain(issuer.readLeaf(first.cert)?.pin);
  });

  it("for a year, each client's answer of an hour ago is good for what is shown now, and today's for a proxy that is late", async () => {
    const office = openOffice();
    await office.run();
    let before = { anchors: await office.published(), cert: (await shownBy(office)).cert };
    const serials = new Set<string>();
    for (let at = 0; at < 380; at++) {
      office.clock.pass(23 * hour);
      await office.run();
      const now = { anchors: await office.published(), cert: (await shownBy(office)).cert };
      expect([takes(before.anchors, now.cert), takes(now.anchors, before.cert), takes(now.anchors, now.cert)]).toEqual([
        true,
        true,
        true,
      ]);
      expect(issuer.readLeaf(now.cert)?.expiresAt).toBeGreaterThan(office.clock.now() + 9 * day);
      serials.add(serialOf(now.cert));
      before = now;
    }
    expect(serials.size).toBe(19);
    const trust = await office.trust();
    expect([trust?.roots.length, (trust?.leaves.length ?? 9) <= 2]).toEqual([1, true]);
  }, 240_000);

  it("S-34 another root key is published a week before a leaf of it is shown, beside the one before", async () => {
    const office = openOffice();
    await office.run();
    const old = await office.published();
    office.clock.pass(3 * day);
    office.changeKey();
    await office.run();
    const both = await office.published();
    expect(both.ca.match(/BEGIN/g)).toHaveLength(2);
    for (const run = { days: 0 }; run.days < 6; run.days++) {
      office.clock.pass(day);
      await office.run();
      expect(takes({ ...old, pins: (await office.published()).pins }, (await shownBy(office)).cert)).toBe(true);
    }
    office.clock.pass(day);
    await office.run();
    const { cert } = await shownBy(office);
    expect(takes({ ...old, pins: (await office.published()).pins }, cert)).toBe(false);
    expect(takes({ ...both, pins: (await office.published()).pins }, cert)).toBe(true);
    office.clock.pass(31 * day);
    await office.run();
    expect((await office.published()).ca.match(/BEGIN/g)).toHaveLength(1);
  });

  it("a new name is taken in at once when the announced key has been out long enough, and never before", async () => {
    const office = openOffice();
    await office.run();
    const more = { default: issued, far: { gate: { host: "far.test", port: 7443 } } };
    const named = async () => new X509Certificate((await shownBy(office)).cert).checkHost("far.test");
    await office.run(more);
    expect(await named()).toBeUndefined();
    office.clock.pass(2 * hour);
    await office.run(more);
    expect(await named()).toBe("far.test");
  });

  it("a certificate that has expired, after a month without a run, is replaced at once", async () => {
    const office = openOffice();
    await office.run();
    office.clock.pass(45 * day);
    await office.run();
    expect(issuer.readLeaf((await shownBy(office)).cert)?.expiresAt).toBeGreaterThan(office.clock.now() + 29 * day);
  });

  it("a root that nears its end is made again with its key, and the one before goes on", async () => {
    const office = openOffice();
    await office.run();
    const before = await office.published();
    office.clock.pass(3_300 * day);
    await office.run();
    const { cert } = await shownBy(office);
    expect((await office.trust())?.roots).toHaveLength(2);
    expect(takes({ ...before, pins: (await office.published()).pins }, cert)).toBe(true);
  });
});

describe("whatever happens meanwhile", () => {
  /** What must hold after each single call. */
  const invariant = (office: TestOffice) => async (): Promise<void> => {
    const shown = await office.shown();
    if (shown) expect(takes(await office.published(), shown.cert)).toBe(true);
  };
  const settle = async (office: TestOffice) => {
    await office.run();
    expect((await office.run()).steps).toEqual([]);
    await invariant(office)();
    const versions = await office.vault.describe(secretName);
    expect(versions?.filter(({ stages }) => stages.includes("AWSCURRENT"))).toHaveLength(1);
  };

  it("killed before or after any call of the first run, the next one finishes", async () => {
    const measured = openOffice();
    await measured.run();
    const total = measured.calls();
    expect(total).toBeGreaterThan(30);
    for (let call = 1; call <= total; call++)
      for (const when of ["before", "after"] as const) {
        const office = openOffice();
        office.watch(invariant(office));
        office.kill({ call, when });
        await expect(office.run()).rejects.toMatchObject({ code: "internal" });
        office.kill(undefined);
        await settle(office);
      }
  }, 240_000);

  it("killed before or after any call of a renewal, the next one finishes, with the announced key", async () => {
    const measured = openOffice();
    await measured.run();
    measured.clock.pass(21 * day);
    measured.kill(undefined);
    await measured.run();
    const total = measured.calls();
    for (let call = 1; call <= total; call++)
      for (const when of ["before", "after"] as const) {
        const office = openOffice();
        await office.run();
        const announced = (await office.trust())?.next?.pin;
        office.clock.pass(21 * day);
        office.watch(invariant(office));
        office.kill({ call, when });
        await expect(office.run()).rejects.toMatchObject({ code: "internal" });
        office.kill(undefined);
        await settle(office);
        expect(issuer.readLeaf((await shownBy(office)).cert)?.pin).toBe(announced);
      }
  }, 240_000);

  it("held up before any call of a renewal while another run does all of it, a run changes nothing afterwards", async () => {
    const measured = openOffice();
    await measured.run();
    measured.clock.pass(21 * day);
    measured.kill(undefined);
    await measured.run();
    const total = measured.calls();
    for (let call = 1; call <= total; call++) {
      const office = openOffice();
      await office.run();
      office.clock.pass(21 * day);
      office.watch(invariant(office));
      const { arrived, release } = office.hold(call);
      const slow = office.run();
      await arrived;
      await office.run();
      const before = [await office.trust(), await office.shown()];
      // so that whatever is written again is another
      office.clock.pass(60_000);
      release();
      await slow;
      expect([await office.trust(), await office.shown()]).toEqual(before);
    }
  }, 240_000);

  it("five runs at once make one root, one certificate and one next key", async () => {
    const office = openOffice();
    office.watch(invariant(office));
    await Promise.all(Array.from({ length: 5 }, () => office.run()));
    const trust = await office.trust();
    expect([trust?.roots.length, trust?.leaves.length]).toEqual([1, 1]);
    office.clock.pass(21 * day);
    await Promise.all(Array.from({ length: 5 }, () => office.run()));
    expect((await office.trust())?.leaves).toHaveLength(2);
    await settle(office);
  });

  it("a table that was lost is told what is shown before anything else is done", async () => {
    const office = openOffice();
    await office.run();
    const { cert } = await shownBy(office);
    await office.table.write({ remove: keys.trust() });
    await office.run();
    expect((await shownBy(office)).cert).toBe(cert);
    expect(takes(await office.published(), cert)).toBe(true);
  });

  it("a table and a root key that were lost at once are no reason to show what nobody can verify", async () => {
    const office = openOffice();
    await office.run();
    office.clock.pass(day);
    await office.table.write({ remove: keys.trust() });
    office.changeKey();
    await settle(office);
  });

  it("a value that somebody broke is replaced by a certificate of ours", async () => {
    const office = openOffice();
    await office.run();
    const from = (await office.vault.describe(secretName))?.find(({ stages }) => stages.includes("AWSCURRENT"));
    await office.vault.stage(secretName, "by-hand", secret("not a certificate"));
    await office.vault.promote(secretName, { to: "by-hand", from: from?.version ?? "" });
    await office.run();
    expect(takes(await office.published(), (await shownBy(office)).cert)).toBe(true);
  });
});

describe("what it must not do", () => {
  it("S-45 a secret that is not ours is never touched", async () => {
    const office = openOffice();
    await office.vault.plant(secretName, "theirs");
    await expect(office.run()).rejects.toMatchObject({ code: "conflict" });
    expect((await office.vault.read(secretName, { stage: "AWSCURRENT" }))?.value.reveal()).toBe("theirs");
  });

  it.each([
    { source: "me", "detail-type": "Scheduled Event" },
    { names: ["evil.test"] },
    { Step: "createSecret", SecretId: "sallyport/proxy/certificate", ClientRequestToken: "x" },
    [],
    "renew",
    1,
  ])("S-45 a hand-made event is refused and changes nothing: %j", async (event) => {
    const office = openOffice();
    await expect(office.invoke(event)).rejects.toMatchObject({ code: "invalid" });
    expect([office.table.items(), office.calls()]).toEqual([[], 0]);
  });

  it("the keys of leaves are in the secret alone: not in the table, the log, the answer, an event or a failure", async () => {
    const office = openOffice();
    const answers: unknown[] = [await office.run()];
    const seen = [(await shownBy(office)).key];
    office.clock.pass(21 * day);
    answers.push(await office.run());
    seen.push((await shownBy(office)).key);
    office.table.fault.break();
    answers.push(await office.run().catch((thrown: unknown) => inspect(thrown)));
    office.table.fault.mend();
    const told = JSON.stringify([answers, office.table.items(), office.logged]);
    expect(told).toContain("sha256/");
    expect(told).not.toContain("PRIVATE KEY");
    for (const key of seen) {
      const [body = "nothing"] = /[A-Za-z0-9+/]{40,}/.exec(key) ?? [];
      expect(told).not.toContain(body.slice(10, 50));
    }
  });

  it("each change to what is published is an event", async () => {
    const office = openOffice();
    await office.run();
    const steps = office.events("trust.change").map((event) => (event["details"] as { step: string }).step);
    expect(steps.toSorted()).toEqual(["leaf", "next", "next", "root"]);
  });

  it("a certificate that is about to expire, since renewals fail, is an error in the log", async () => {
    const office = openOffice();
    await office.run();
    office.clock.pass(26 * day);
    office.table.fault.breakWhen((touched) => "put" in touched);
    await expect(office.run()).rejects.toMatchObject({ code: "unavailable" });
    expect(office.logged.join()).toContain('"level":"error"');
  });
});
