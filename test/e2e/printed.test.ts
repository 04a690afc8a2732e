// Every connection that sally prints for a stock client, taken as printed: it works, and it refuses whoever is not our proxy.
// And what somebody sees whose client demands SCRAM channel binding, which a token can't do.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "./attack.ts";
import { isOnPath, type Outcome, run, start } from "./clients/program.ts";
import { openWorld, password, type World } from "./world.ts";

const root = join(import.meta.dirname, "../..");
const main = join(root, "packages/cli/src/main.ts");

let world: World;
let home = "";
let impostor: Server;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "sally-home-"));
  world = await openWorld();
  await world.person("ana", ["dev"]);
  // whoever answers here has a certificate for the right name, from another authority
  const identity = await world.laptop.authority.issue(["localhost"]);
  impostor = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.pause();
      socket.write("S");
      new TLSSocket(socket, { isServer: true, cert: identity.cert, key: identity.key }).on("error", () => {});
    });
  });
  impostor.listen(0, "127.0.0.1");
  await once(impostor, "listening");
  expect((await sally(`login --server ${world.laptop.api} --user ana`, {}, `${password}\n`)).status).toBe(0);
});
afterAll(async () => {
  impostor?.close();
  await world?.close();
  await rm(home, { recursive: true, force: true });
});
beforeEach(({ skip }) => skip(!isOnPath("psql"), "psql is not on PATH: apt install postgresql-client"));

const sally = (args: string, env: Readonly<Record<string, string>> = {}, input = ""): Promise<Outcome> =>
  run(process.execPath, [main, ...args.split(" ")], { input, env: { HOME: home, ...env } });
const wish = "orders -u reader";
const statement = "-XAtc 'select current_user'";
const shell = (script: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
  run("sh", ["-c", script], { env: { HOME: home, ...env } });
const printed = async (args: string, env: Readonly<Record<string, string>> = {}): Promise<string> => {
  const { status, stdout, stderr } = await sally(args, env);
  expect([status, stderr]).toEqual([0, expect.anything()]);
  return stdout.trim();
};
const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
};

/** Each form as a shell script that a person would run with it. */
const forms: [string, () => Promise<string>][] = [
  ["sally db login", async () => `psql '${await printed(`db login ${wish}`)}' ${statement}`],
  ["sally db login -f cmd", async () => `${await printed(`db login ${wish} -f cmd`)} ${statement}`],
  [
    "sally db login -f json",
    async () => `psql '${(JSON.parse(await printed(`db login ${wish} -f json`)) as { url: string }).url}' ${statement}`,
  ],
  [
    "the parts of sally db login -f json",
    async () => {
      const of = JSON.parse(await printed(`db login ${wish} -f json`)) as Record<string, string>;
      const parts = `host=${of["host"]} port=${of["port"]} user=${of["user"]} dbname=${of["name"]} password=${of["password"]}`;
      return `psql '${parts} sslmode=verify-full sslrootcert=${of["caFile"]}' ${statement}`;
    },
  ],
  [
    "sally db env",
    async () => {
      await printed(`db login ${wish}`);
      return `${await printed("db env orders")}\npsql ${statement}`;
    },
  ],
  [
    "DATABASE_URL of sally db env",
    async () => {
      await printed(`db login ${wish}`);
      const kept = "PATH HOME DATABASE_URL".split(" ").map((name) => `${name}="$${name}"`);
      return `${await printed("db env orders")}\nenv -i ${kept.join(" ")} sh -c 'psql "$DATABASE_URL" -XAtc "select current_user"'`;
    },
  ],
  [
    "sally db config -f cmd",
    async () => {
      await printed(`db login ${wish}`);
      return `${await printed("db config orders -f cmd")} ${statement}`;
    },
  ],
];

describe.each(forms)("%s", (_, make) => {
  it("works as printed", async () => {
    expect(await shell(await make())).toEqual({ status: 0, stdout: "reader\n", stderr: "" });
  });
  it("S-21 refuses somebody else's certificate, and ours under another name", async () => {
    const script = await make();
    const { postgres } = world.laptop.ports;
    const elsewhere = script.replaceAll(String(postgres), String(portOf(impostor)));
    expect(elsewhere).not.toBe(script);
    const stranger = await shell(elsewhere);
    expect([stranger.status, stranger.stdout]).toEqual([2, ""]);
    expect(stranger.stderr).toContain("certificate verify failed");
    const renamed = await shell(script.replaceAll("localhost", "127.0.0.1"));
    expect([renamed.status, renamed.stdout]).toEqual([2, ""]);
    expect(renamed.stderr).toMatch(/server certificate for "localhost" .*does not match host name "127.0.0.1"/);
  });
});

describe("a client that demands SCRAM channel binding", () => {
  const demanding = { PGCHANNELBINDING: "require" };

  it("refuses by itself on the plain port, in libpq's words; sally says before what to do, and the proxy's log tells", async () => {
    const login = await sally(`db login ${wish}`, demanding);
    expect(login).toMatchObject({ status: 0 });
    expect(login.stderr).toContain("PGCHANNELBINDING=require in your environment makes clients refuse");
    expect(login.stderr).toContain(
      "hint: use the tunnel, which clears it for the program it starts: sally db connect orders",
    );
    const { status, stdout, stderr } = await shell(`psql '${login.stdout.trim()}' ${statement}`, demanding);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("channel binding required");
    const [proxy] = world.proxies;
    await eventually("the log tells", () => /login\.left.*use the tunnel/.test(proxy?.log() ?? ""));
  });

  it("is let in by sally db env, which says for itself what it wants", async () => {
    await printed(`db login ${wish}`);
    const script = `${await printed("db env orders")}\npsql ${statement}`;
    expect(await shell(script, demanding)).toEqual({ status: 0, stdout: "reader\n", stderr: "" });
  });

  it("is let in by the tunnel of sally db connect, and told by sally proxy db", async () => {
    const connected = await sally(`db connect ${wish}`, demanding, "\\t on\nselect current_user;\n");
    expect(connected).toMatchObject({ status: 0, stdout: expect.stringContaining("reader") });
    const running = start(process.execPath, [main, "proxy", "db", "orders", "-u", "reader"], {
      env: { HOME: home, ...demanding },
    });
    await eventually("it says so", () => running.stderr().includes("makes clients refuse"), 15_000);
    running.child.kill("SIGINT");
    expect((await running.outcome).status).toBe(0);
  });

  it("nobody else is told anything", async () => {
    const { stderr } = await sally(`db login ${wish}`, { PGCHANNELBINDING: "prefer", PGREQUIREAUTH: "password" });
    expect(stderr).not.toContain("refuse");
  });
});
