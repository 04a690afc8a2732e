// What a task learns of itself from ECS, asked over real HTTP.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readSettings } from "@sallyport/proxy/settings";
import { readTaskAddress, readTaskRevision } from "@sallyport/proxy/task";
import { afterEach, expect, it } from "vitest";

let server: Server | undefined;
afterEach(() => server?.close());

/** The metadata endpoint of a task, as the developer guide shows it. */
const open = async (status: number, body: unknown): Promise<string> => {
  server = createServer((_, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((done) => server?.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v4/abc`;
};

it("is told its private address", async () => {
  const endpoint = await open(200, {
    DockerId: "cd189a933e5849daa93386466019ab50-2495160603",
    Networks: [{ NetworkMode: "awsvpc", IPv4Addresses: ["10.86.1.20"], SubnetGatewayIpv4Address: "10.86.1.1/24" }],
  });
  expect(await readTaskAddress(endpoint)).toBe("10.86.1.20");
});

it.each([
  [500, {}],
  [200, { Networks: [] }],
  [200, { Networks: [{ IPv4Addresses: [] }] }],
])("does not start without an address: status %i, %j", async (status, body) => {
  const endpoint = await open(status, body);
  await expect(readTaskAddress(endpoint)).rejects.toMatchObject({
    code: "unavailable",
    hint: expect.stringContaining("SALLYPORT_PEER_ADDRESS"),
  });
});

it("wants an address to be set where no ECS is", () => {
  const env = {
    SALLYPORT_TABLE: "sallyport",
    SALLYPORT_CERT_FILE: "cert.pem",
    SALLYPORT_KEY_FILE: "key.pem",
    SALLYPORT_CANCEL_SECRET: "sallyport/proxy/cancel-key",
    SALLYPORT_AUDIT_DIR: "audit",
  };
  expect(() => readSettings(env)).toThrow(/SALLYPORT_PEER_ADDRESS: is required outside ECS/);
  const metadata = "http://169.254.170.2/v4/abc";
  expect(readSettings({ ...env, ECS_CONTAINER_METADATA_URI_V4: metadata })).toMatchObject({
    peerAddress: "",
    metadata,
  });
});

it("is told its revision by the task definition, and counts 10 after 9", async () => {
  const endpoint = await open(200, { Cluster: "default", Family: "sallyport-proxy", Revision: "10" });
  expect(await readTaskRevision(endpoint)).toBe(10);
  const silent = await open(200, { Family: "sallyport-proxy" });
  await expect(readTaskRevision(silent)).rejects.toMatchObject({
    code: "unavailable",
    hint: expect.stringContaining("SALLYPORT_REVISION"),
  });
});
