// Resource files: several YAML documents, each checked against the contract, every error with the file and line it is on.
import { Document, documents, type ResourceKind, resourceKinds } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import { documentNameOf } from "@sallyport/core/managed-document";
import { isScalar, LineCounter, type ParsedNode, parseAllDocuments, type Document as YamlDocument } from "yaml";

const isKind = (kind: unknown): kind is ResourceKind => resourceKinds.some((known) => known === kind);

/** The line of the node at `path`, or of the nearest one above it that is there. */
const lineOf = (document: YamlDocument.Parsed, lines: LineCounter, path: readonly PropertyKey[]): number => {
  for (let length = path.length; length >= 0; length -= 1) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    const range = node instanceof Object && "range" in node ? (node as ParsedNode).range : undefined;
    if (range) return lines.linePos(range[0]).line;
  }
  return lines.linePos(document.range[0]).line;
};

/** What the document says; aliases may lead nowhere, or multiply without end. */
const dataOf = (document: YamlDocument.Parsed, at: string): unknown => {
  try {
    return document.toJS();
  } catch (cause) {
    throw new Failure("invalid", `${at}: ${cause instanceof Error ? cause.message : "can't be read"}`, { cause });
  }
};

const check = (document: YamlDocument.Parsed, lines: LineCounter, source: string): Document => {
  const at = (path: readonly PropertyKey[]): string => `${source}:${lineOf(document, lines, path)}`;
  const data = dataOf(document, at([]));
  const kind: unknown = data instanceof Object && "kind" in data ? data.kind : undefined;
  if (!isKind(kind))
    throw new Failure(
      "invalid",
      `${at(["kind"])}: ${kind === undefined ? "no kind" : `unknown kind ${JSON.stringify(kind)}`}`,
      {
        hint: `kinds are ${resourceKinds.join(", ")}`,
      },
    );
  // by its own schema, not the union's: the messages then speak of this kind alone
  const parsed = documents[kind].safeParse(data);
  if (parsed.success) return Document.parse(data);
  const issues = parsed.error.issues.map((issue) => `${at(issue.path)}: ${describeIssues([issue])}`);
  throw new Failure("invalid", issues.join("\n"), { hint: "nothing was sent; correct the file and try again" });
};

/** @throws Failure `invalid`, one line of message per mistake */
export const parseDocuments = (text: string, source: string): readonly Document[] => {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  const found = "empty" in parsed ? [] : parsed;
  const mistakes = found.flatMap((document) =>
    document.errors.map((error) => `${source}:${lines.linePos(error.pos[0]).line}: ${error.message}`),
  );
  if (mistakes.length > 0)
    throw new Failure("invalid", mistakes.join("\n"), { hint: "correct the YAML and try again" });
  const filled = found.filter(({ contents }) => contents !== null && !(isScalar(contents) && contents.value === null));
  if (filled.length === 0) throw new Failure("invalid", `${source} holds no document`);
  return filled.map((document) => check(document, lines, source));
};

const plurals: Readonly<Record<string, ResourceKind>> = Object.fromEntries(
  resourceKinds.map((kind) => [`${kind}s`, kind]),
);

/** `role/reader`, `roles`: a kind and perhaps a name. @throws Failure `invalid` */
export const parseReference = (text: string): { readonly kind: ResourceKind; readonly name: string | undefined } => {
  const at = text.indexOf("/");
  const word = at < 0 ? text : text.slice(0, at);
  const kind = isKind(word) ? word : Object.hasOwn(plurals, word) ? plurals[word] : undefined;
  if (!kind)
    throw new Failure("invalid", `${JSON.stringify(word)} is no kind of resource`, {
      hint: `kinds are ${resourceKinds.join(", ")}`,
    });
  const name = at < 0 ? undefined : text.slice(at + 1);
  return { kind, name: kind === "managed_user" && name !== undefined ? documentNameOf(name) : name };
};
