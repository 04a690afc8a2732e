// certify on a table and a vault in memory, under its own permissions, with a key that signs and a clock. Every call to the
// outside is counted, and the process may be "killed" at any of them: before it is made, or after with its answer lost.
import { X509Certificate } from "node:crypto";
import { keys } from "@sallyport/core/family";
import type { Signer } from "@sallyport/core/ports";
import { anchorsOf, Trust } from "@sallyport/core/trust";
import { openCertify } from "@sallyport/functions/certify";
import type { World } from "@sallyport/functions/compose";
import { issuer } from "@sallyport/functions/issuer";
import { openFakeSigner } from "../fakes/signer.ts";
import { openFakeVault } from "../fakes/vault.ts";
import { context, openWorld } from "./world.ts";

export const secretName = "sallyport/proxy/certificate";
export const day = 86_400_000;
export const issued = {
  gate: { host: "gate.test", port: 7443 },
  direct: { host: "direct.test", ports: { postgres: 5432 } },
};

class Killed extends Error {}

export const openOffice = (networks: World["networks"] = { default: issued }) => {
  const world = openWorld();
  const vault = openFakeVault();
  let signer: Signer = openFakeSigner();
  let calls = 0;
  let killAt: { call: number; when: "before" | "after" } | undefined;
  let holdAt: { call: number; arrived: () => void; until: Promise<void> } | undefined;
  let watch: () => Promise<void> = async () => {};

  /** The same port, its calls counted, watched and killed. */
  const counted = <P extends object>(port: () => P): P =>
    new Proxy({} as P, {
      get: (_, name) => {
        const member: unknown = Reflect.get(port(), name);
        if (typeof member !== "function") return member;
        return async (...given: unknown[]): Promise<unknown> => {
          const call = ++calls;
          if (killAt?.call === call && killAt.when === "before") throw new Killed();
          if (holdAt?.call === call) {
            holdAt.arrived();
            await holdAt.until;
          }
          const answer: unknown = await Reflect.apply(member, port(), given);
          await watch();
          if (killAt?.call === call && killAt.when === "after") throw new Killed();
          return answer;
        };
      },
    });

  const opened = (over: World["networks"]) => {
    const own = world.worldOf("certify");
    const desk = { vault: counted(() => vault), signer: counted(() => signer), secretName };
    return openCertify({ ...own, networks: over, store: counted(() => own.store) }, desk, world.log);
  };
  const run = async (over: World["networks"] = networks) =>
    (await opened(over)({}, context)) as { steps: string[]; ca: string; pins: string[]; expiresAt: number };

  const trust = async (): Promise<Trust | undefined> => {
    const item = await world.table.get(keys.trust());
    return item && Trust.parse(item);
  };
  /** What a proxy reads. */
  const shown = async (): Promise<{ cert: string; key: string } | undefined> => {
    const current = await vault.read(secretName, { stage: "AWSCURRENT" });
    return current && (JSON.parse(current.value.reveal()) as { cert: string; key: string });
  };
  const published = async () => {
    const found = await trust();
    return found ? anchorsOf(found, world.clock.now()) : { ca: "", pins: [] };
  };
  return {
    ...world,
    vault,
    run,
    trust,
    shown,
    published,
    /** The function itself, for events of one's own. */
    invoke: (event: unknown) => opened(networks)(event, context),
    /** The next run ends at its nth call. */
    kill: (at: typeof killAt) => {
      calls = 0;
      killAt = at;
    },
    /** The next run waits before its nth call; `arrived` settles when it is there. */
    hold: (call: number) => {
      const [arrival, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      calls = 0;
      holdAt = { call, arrived: arrival.resolve, until: released.promise };
      return { arrived: arrival.promise, release: released.resolve };
    },
    calls: () => calls,
    /** Called after each call to the outside, when its effect is there. */
    watch: (look: () => Promise<void>) => {
      watch = look;
    },
    changeKey: () => {
      signer = openFakeSigner("alias/other");
    },
  };
};
export type TestOffice = ReturnType<typeof openOffice>;

/** Would a client with these anchors take what is shown? */
export const takes = (anchors: { ca: string; pins: readonly string[] }, cert: string): boolean => {
  const roots = anchors.ca.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? [];
  const pin = issuer.readLeaf(cert)?.pin ?? "";
  return anchors.pins.includes(pin) && roots.some((root) => issuer.isIssuedBy(cert, root));
};
export const serialOf = (cert: string): string => new X509Certificate(cert).serialNumber;
