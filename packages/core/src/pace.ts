// How fast a service is asked, kept on our side: so many at once, then so many a second, whoever asks. What would come too
// early waits its turn.
import type { Clock } from "./ports.ts";

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export interface Pace {
  /** How long `count` calls would have to wait now, in milliseconds. */
  delay(count: number): number;
  /** Resolves when it is their turn. */
  take(count: number): Promise<void>;
}

export const openPace = ({ perSecond, burst }: Rate, clock: Clock, wait: (ms: number) => Promise<unknown>): Pace => {
  const step = 1000 / perSecond;
  /** When the bucket would be full again. */
  let fullAt = 0;
  const after = (count: number): number => Math.max(fullAt, clock.now()) + count * step;
  const delay = (count: number): number => Math.max(0, after(count) - burst * step - clock.now());
  return {
    delay,
    async take(count) {
      const ms = delay(count);
      fullAt = after(count);
      if (ms > 0) await wait(ms);
    },
  };
};
