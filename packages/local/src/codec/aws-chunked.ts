// Bodies that SDKs send as a stream: chunks with their lengths, then trailing headers, here the checksum of the whole.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
import { Refusal } from "../refusal.ts";
import type { SignedRequest } from "../signature.ts";
import { header } from "./codec.ts";

const malformed = (): Refusal =>
  new Refusal("IncompleteBody", "The request body terminated unexpectedly or is no aws-chunked body.", 400);

/** The same request with its body in one piece and its trailer among its headers. */
export const unchunk = (request: SignedRequest): SignedRequest => {
  const body = Buffer.from(request.body);
  const pieces: Buffer[] = [];
  let at = 0;
  const line = (): string => {
    const end = body.indexOf("\r\n", at);
    if (end < 0) throw malformed();
    const text = body.toString("latin1", at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const [, digits] = /^([0-9a-f]{1,8})(?:;.*)?$/i.exec(line()) ?? [];
    const length = digits === undefined ? -1 : Number.parseInt(digits, 16);
    if (length < 0 || at + length > body.length) throw malformed();
    if (length === 0) break;
    pieces.push(body.subarray(at, at + length));
    at += length;
    if (line() !== "") throw malformed();
  }
  const trailer: Record<string, readonly string[]> = {};
  const announced = header(request, "x-amz-trailer").toLowerCase().split(",");
  for (let text = line(); text !== ""; text = line()) {
    const [, name = "", value = ""] = /^([^:]+):\s*(.*)$/.exec(text) ?? [];
    if (!announced.includes(name.toLowerCase())) throw malformed();
    trailer[name.toLowerCase()] = [value];
  }
  const whole = Buffer.concat(pieces);
  if (Number(header(request, "x-amz-decoded-content-length")) !== whole.length) throw malformed();
  return { ...request, body: whole, headers: { ...request.headers, ...trailer } };
};
