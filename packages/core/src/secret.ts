// A value that must never be printed. It prints as [secret] everywhere; only reveal() gives it, at the place of use.

export interface Secret {
  reveal(): string;
  toString(): string;
  toJSON(): string;
}

const printed = "[secret]";

export const secret = (value: string): Secret =>
  Object.freeze({
    reveal: () => value,
    toString: () => printed,
    toJSON: () => printed,
    // what Node's console and assertion messages call
    [Symbol.for("nodejs.util.inspect.custom")]: () => printed,
  });
