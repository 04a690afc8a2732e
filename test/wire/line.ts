// What a statement says, read back from the very bytes that the audit would have.
import type { Statement } from "@sallyport/core/audit";
import { json, makePen } from "@sallyport/core/line";

const pen = makePen();
const [open, close] = [json('{"own":0'), json("}")];

const lineText = (statement: Statement): string => {
  const sheet = { bytes: new Uint8Array(64), at: 0 };
  pen.take(sheet);
  pen.fixed(open);
  statement.say(pen);
  pen.fixed(close);
  return Buffer.from(sheet.bytes.subarray(0, sheet.at)).toString();
};
export const lineOf = (statement: Statement): Readonly<Record<string, unknown>> => {
  const { own: _own, ...said } = JSON.parse(lineText(statement)) as Record<string, unknown>;
  return said;
};
