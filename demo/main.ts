// `npm run demo`: the walk of one connection, for real, on this machine; then it stays up for trying by hand.
// `--once` leaves after the tour, with exit status 0 when all of it was as it should be.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStage, type Stage } from "./account.ts";
import { say, step } from "./terminal.ts";
import { password, walk } from "./walk.ts";

const invitation = ({ laptop, shop, till }: Stage): void => {
  step("try it by hand (Ctrl-C here ends it all)");
  say(`in another terminal, in this folder; the password is: ${password}

npx sally login --server ${laptop.api} --user ana
npx sally db ls
npx sally db connect orders -u reader -n orders${shop ? "\nnpx sally db connect shop -u reader -n shop" : ""}
npx sally db connect sales -u reader -n sales
npx sally db connect shelf -u reader -n shelf
${till ? "npx sally db connect till -u reader\n" : ""}npx sally proxy db orders -u reader -n orders
npx sally db explain orders -u writer -n orders
npx sally logout

and as the administrator:

npx sally login --server ${laptop.api} --user root
npx sally get role/dev-read
${till ? "npx sally get managed_user\n" : ""}npx sally db explain orders -u writer -n orders --as ana
npx sally lock --user ana --message 'just trying' --ttl 5m`);
};

const folder = await mkdtemp(join(tmpdir(), "sallyport-demo-"));
const asked = new Promise<"asked">((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve("asked"));
});
let stage: Stage | undefined;
try {
  stage = await openStage();
  const toured = await Promise.race([walk(stage, folder), asked]);
  if (toured !== "asked" && !process.argv.includes("--once")) {
    invitation(stage);
    await asked;
  }
} catch (thrown) {
  console.error(`\ndemo: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  process.exitCode = 1;
} finally {
  await stage?.close();
  await rm(folder, { recursive: true, force: true });
}
process.exit();
