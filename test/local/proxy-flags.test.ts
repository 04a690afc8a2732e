// The laptop's proxies run as the deployed ones do.
import { readFile } from "node:fs/promises";
import { proxyFlags } from "@sallyport/local/task";
import { expect, it } from "vitest";

it("the Dockerfile starts Node with the same flags", async () => {
  const text = await readFile(new URL("../../Dockerfile", import.meta.url), "utf8");
  const entry = /^ENTRYPOINT (\[.*\])$/m.exec(text)?.[1] ?? "[]";
  const [node, ...words] = JSON.parse(entry) as string[];
  expect(node).toBe("node");
  expect(words.slice(0, -1)).toEqual(proxyFlags);
});
