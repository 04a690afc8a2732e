// Our client against the true mysql_clear_password exchange of a server nobody here wrote: MariaDB's own PAM method, asked to
// take passwords in clear as AWSAuthenticationPlugin does. PAM has its services in /etc/pam.d, so this needs root; it adds one
// file of its own there, which is gone when the test is.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as secure } from "node:tls";
import type { Credential } from "@sallyport/core/credential";
import { secret } from "@sallyport/core/secret";
import { createAuthority } from "@sallyport/local/certificate";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import { mysql } from "@sallyport/wire/mysql/mysql";
import type { Upstream } from "@sallyport/wire/protocol";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { grantFor } from "../door.ts";

const modules = ["/lib/x86_64-linux-gnu/security", "/lib/aarch64-linux-gnu/security", "/lib/security"];
const why = async (): Promise<string | undefined> => {
  if (!(await haveBinaries())) return `no MariaDB here: ${howToInstall}`;
  if (process.getuid?.() !== 0) return "it writes to /etc/pam.d, for which one has to be root";
  if (!modules.some((folder) => existsSync(join(folder, "pam_script.so"))))
    return "no pam_script.so: apt-get install libpam-script (which adds itself to the system's own logins)";
  return undefined;
};
const missing = await why();

// as long as an RDS token is, with everything in it that one has
const token = `orders.abc.eu-west-1.rds.amazonaws.com:3306/?Action=connect&DBUser=ada&X-Amz-Security-Token=${randomBytes(900).toString("base64url")}%2F%3D`;
const service = `sallyport-${process.pid}-${randomBytes(4).toString("hex")}`;
const serviceFile = join("/etc/pam.d", service);
let scripts: string;
let server: MariaDb;
let upstreamAs: (credential: Credential) => Upstream;

beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  scripts = await mkdtemp(join(tmpdir(), "sallyport-pam-"));
  await chmod(scripts, 0o755);
  const sum = createHash("sha256").update(token).digest("hex");
  const script = `#!/bin/sh\n[ "$(printf %s "$PAM_AUTHTOK" | sha256sum | cut -d' ' -f1)" = ${sum} ]\n`;
  await writeFile(join(scripts, "pam_script_auth"), script, { mode: 0o755 });
  const lines = [`auth required pam_script.so dir=${scripts}`, "account required pam_permit.so", ""];
  await writeFile(serviceFile, lines.join("\n"));
  const authority = await createAuthority({ now: Date.now() });
  const tls = await authority.issue(["localhost"]);
  // the first generation asks PAM in its own process; the second's helper is for the packaged server's user alone
  const settings = { plugin_load_add: "auth_pam_v1", pam_use_cleartext_plugin: "ON" };
  server = await startMariaDb({ tls, settings });
  await server.sql("", `create user ada@'%' identified via pam using '${service}'`);
  const { port } = server;
  upstreamAs = (credential) => ({
    database: { name: "orders", endpoint: makeDatabase().endpoint },
    tcp: async () => {
      const socket = dial(port, "127.0.0.1");
      await once(socket, "connect");
      return { socket, peer: { address: "127.0.0.1", port } };
    },
    secure: async (socket) => {
      const secured = secure({ socket, ca: authority.ca, servername: "localhost" });
      await once(secured, "secureConnect");
      return secured;
    },
    credential: async () => credential,
  });
}, 60_000);
afterAll(async () => {
  await server?.stop();
  await rm(serviceFile, { force: true });
  if (scripts !== undefined) await rm(scripts, { recursive: true, force: true });
});

const grant = { ...grantFor({ user: "ada" }), dbName: undefined };
const clear = (text: string): Credential => ({ as: "password", user: "ada", password: secret(text), methods: "clear" });

test("a token sent in clear, because the server asks for it so, lets us in as exactly that user", async () => {
  const session = await mysql.login(upstreamAs(clear(token)), grant);
  expect(await mysql.run(session, "select current_user()")).toMatchObject([["ada@%"]]);
  session.socket.destroy();
});

test("another token does not, in the server's own words", async () => {
  await expect(mysql.login(upstreamAs(clear(`${token}x`)), grant)).rejects.toMatchObject({
    code: "upstream_refused",
    details: { errno: 1045, sqlstate: "28000" },
  });
});

test("S-24 a password that must not be sent in clear is not, though the server asks for it so", async () => {
  const kept: Credential = { as: "password", user: "ada", password: secret(token), methods: "challenge" };
  await expect(mysql.login(upstreamAs(kept), grant)).rejects.toThrow(/mysql_clear_password|method/);
});
