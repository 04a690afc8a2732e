// First in, first out, without moving what is left.

export interface Queue<T> {
  push(item: T): void;
  first(): T | undefined;
  second(): T | undefined;
  shift(): T | undefined;
  size(): number;
  some(is: (item: T) => boolean): boolean;
  /** All of it, and nothing is left. */
  drain(): readonly T[];
}

// what has gone is cut off in pieces of this size
const piece = 1_024;

export const openQueue = <T>(): Queue<T> => {
  let items: (T | undefined)[] = [];
  let head = 0;
  return {
    push: (item) => {
      items.push(item);
    },
    first: () => items[head],
    second: () => items[head + 1],
    shift: () => {
      if (head >= items.length) return undefined;
      const item = items[head];
      items[head++] = undefined;
      if (head === items.length) {
        items.length = 0;
        head = 0;
      } else if (head >= piece && 2 * head >= items.length) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
    size: () => items.length - head,
    some: (is) => items.some((item) => item !== undefined && is(item)),
    drain: () => {
      const left = items.slice(head).filter((item) => item !== undefined);
      items = [];
      head = 0;
      return left;
    },
  };
};
