// What the parts of the front share about the server behind it.
import type { FrontContext } from "../front.ts";
import type { Fault } from "./fault.ts";

export type Context = FrontContext<Fault>;
