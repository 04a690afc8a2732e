// How many tokens a second: issued, as the API's function does once it knows who asks, and redeemed, by one proxy whose protocol is
// nothing but a login (doorman.ts). Both against the table over its real API.
import { once } from "node:events";
import { connect as dial } from "node:net";
import { connect } from "@sallyport/core/connect";
import type { Caller, Desk } from "@sallyport/core/login";
import { doorman, tokenLength } from "./doorman.ts";
import { cpuOf, type Sample } from "./measure.ts";
import { account } from "./server.ts";
import type { Way } from "./way.ts";

const asked = 8;
const arriving = 32;
const networks = { default: { gate: { host: "gate.test", port: 7443, pins: ["sha256/AAAA"], ca: "a certificate" } } };

/** Does it again and again, so many at a time, until the time is over; answers how often. */
const repeat = async (seconds: number, atOnce: number, act: () => Promise<void>): Promise<number> => {
  const until = performance.now() + seconds * 1000;
  let count = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < until) {
      await act();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return count;
};

/** Who asks is known already; `login` gives a login that has not issued all it may. */
export const measureIssue = async (desk: Desk, login: () => Caller, seconds: number): Promise<Sample> => {
  const wanted = { database: account.database, user: account.user, name: account.database };
  const before = process.cpuUsage();
  const count = await repeat(seconds, asked, async () => void (await connect(desk, networks, login(), wanted)));
  const { user, system } = process.cpuUsage(before);
  return { rate: count / seconds, cpu: (user + system) / count };
};

const redeem = async ({ host, port, password }: Way): Promise<void> => {
  if (password.length !== tokenLength)
    throw new Error(`the ${doorman.name} doorman reads tokens of ${tokenLength} characters`);
  const socket = dial({ host, port, noDelay: true });
  const said: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => said.push(bytes));
  socket.write(password);
  await once(socket, "end");
  socket.destroy();
  const answer = Buffer.concat(said).toString();
  if (answer !== "in") throw new Error(`a token was not redeemed: ${answer}`);
};

export const measureRedeem = async (way: Way, seconds: number): Promise<Sample> => {
  const before = await cpuOf(way.pid);
  const count = await repeat(seconds, arriving, () => redeem(way));
  return { rate: count / seconds, cpu: ((await cpuOf(way.pid)) - before) / count };
};
