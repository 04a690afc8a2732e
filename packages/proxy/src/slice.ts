// Long work in slices: whatever is done for thousands of sessions at once lets go of the event loop every few milliseconds, so
// that bytes keep passing meanwhile. There is one loop, so there is one measure of how long it was held.
import { setImmediate as turn } from "node:timers/promises";

const sliceMs = 5;
let since = performance.now();

const letOthers = async (): Promise<void> => {
  await turn();
  since = performance.now();
};

/** To be asked after each piece of work: a promise to wait for when it is time to let others work, undefined to go on. */
export const rest = (): Promise<void> | undefined => (performance.now() - since < sliceMs ? undefined : letOthers());
