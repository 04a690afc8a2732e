// The process: what it needs in its environment, and how it says that something is missing.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { readSettings } from "@sallyport/proxy/settings";
import { expect, it } from "vitest";

const enough = {
  SALLYPORT_TABLE: "sallyport",
  SALLYPORT_CERT_FILE: "cert.pem",
  SALLYPORT_KEY_FILE: "key.pem",
  SALLYPORT_PEER_ADDRESS: "10.0.0.4",
  SALLYPORT_CANCEL_SECRET: "sallyport/proxy/cancel-key",
  SALLYPORT_AUDIT_DIR: "audit",
};

it("has a default for whatever can have one", () => {
  expect(readSettings(enough)).toMatchObject({
    network: "default",
    host: "::",
    plainPorts: { postgres: 5432 },
    gatePort: 7443,
    healthPort: 8080,
    peerPort: 7444,
    allow: [],
    drainMs: 90_000,
    auditBytes: 67_108_864,
    caFile: undefined,
  });
});

it("takes ports and ranges as they are written", () => {
  const env = {
    ...enough,
    SALLYPORT_PLAIN_PORTS: '{"postgres":0}',
    SALLYPORT_GATE_PORT: "0",
    SALLYPORT_UPSTREAM_ALLOW: "127.0.0.0/8, 10.1.0.0/16",
    SALLYPORT_DRAIN_SECONDS: "2.5",
  };
  const settings = readSettings(env);
  expect(settings.plainPorts).toEqual({ postgres: 0 });
  expect(settings.gatePort).toBe(0);
  expect(settings.allow).toEqual(["127.0.0.0/8", "10.1.0.0/16"]);
  expect(settings.drainMs).toBe(2_500);
});

it.each([
  ["SALLYPORT_TABLE", undefined],
  ["SALLYPORT_CANCEL_SECRET", ""],
  ["SALLYPORT_PLAIN_PORTS", "5432"],
  ["SALLYPORT_PLAIN_PORTS", "{"],
  ["SALLYPORT_GATE_PORT", "70000"],
  ["SALLYPORT_AUDIT_BYTES", "12"],
  ["SALLYPORT_AUDIT_BUCKET", "both-a-bucket-and-a-folder"],
  ["SALLYPORT_AUDIT_DIR", undefined],
  ["SALLYPORT_SPOOL_DIR", "a-volume-for-no-bucket"],
  ["SALLYPORT_SPOOL_BYTES", "1000"],
  ["SALLYPORT_DRAIN_SECONDS", "soon"],
  ["SALLYPORT_CERT_SECRET", "sallyport/proxy/certificate"],
  ["SALLYPORT_CERT_FILE", undefined],
  ["SALLYPORT_KEY_FILE", undefined],
])("names %s when it is %j", (name, value) => {
  // what is said of where the audit goes names the bucket, whichever of the three is wrong
  const named = /AUDIT_DIR|SPOOL_DIR/.test(name) ? "SALLYPORT_AUDIT_BUCKET" : name;
  expect(() => readSettings({ ...enough, [name]: value })).toThrow(named);
});

it("takes a bucket with a volume before it, in place of a folder", () => {
  const { SALLYPORT_AUDIT_DIR: _, ...rest } = enough;
  const env = {
    ...rest,
    SALLYPORT_AUDIT_BUCKET: "audit",
    SALLYPORT_SPOOL_DIR: "/spool",
    SALLYPORT_AUDIT_KEY: "alias/a",
  };
  expect(readSettings(env)).toMatchObject({
    audit: { bucket: "audit", spool: "/spool", spoolBytes: 1_073_741_824 },
    auditKey: "alias/a",
  });
  expect(() => readSettings({ ...env, SALLYPORT_SPOOL_DIR: undefined })).toThrow("SALLYPORT_AUDIT_BUCKET");
});

it("ends with status 1 and one line of JSON when it can't start", async () => {
  const entry = fileURLToPath(new URL("../../packages/proxy/src/main.ts", import.meta.url));
  const { status, output } = await new Promise<{ status: unknown; output: string }>((resolve) => {
    execFile(process.execPath, [entry], { env: { PATH: process.env["PATH"] } }, (error, stdout, stderr) =>
      resolve({ status: error?.code, output: stdout + stderr }),
    );
  });
  expect(status).toBe(1);
  const line: Record<string, unknown> = JSON.parse(output.trim());
  expect(line).toMatchObject({ level: "ERROR", message: "the proxy can't start", code: "invalid" });
  expect(line["failure"]).toContain("SALLYPORT_TABLE");
});
