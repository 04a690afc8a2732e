// What a schema found wrong, in one line that fits an error, a log and a terminal.

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** `spec.roles.0: too short; name: required` */
export const describeIssues = (issues: readonly Issue[]): string =>
  issues
    .map(({ path, message }) => (path.length > 0 ? `${path.map(String).join(".")}: ${message}` : message))
    .join("; ");
