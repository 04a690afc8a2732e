// An AWS error answer as a thrown value: the code, the sentence and the status a real service would send.
// Everything a caller may see goes through here; any other error becomes InternalFailure without its cause.

/** Thrown by operations and by the front; a codec words it for its protocol. `members` are the error's own modelled fields. */
export class Refusal extends Error {
  readonly code: string;
  readonly status: number | undefined;
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, status?: number, members: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = code;
    this.code = code;
    this.status = status;
    this.members = members;
  }
}

/** What any thrown value becomes before it is sent: unknown errors lose their text. */
export function refusalOf(thrown: unknown): Refusal {
  return thrown instanceof Refusal
    ? thrown
    : new Refusal(
        "InternalFailure",
        "An internal error has occurred. Please try your query again at a later time.",
        500,
      );
}
