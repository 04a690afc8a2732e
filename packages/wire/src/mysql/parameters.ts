// Parameters as an audit line tells them: by value, and where a command comes in parts, by which values a part holds. Telling is
// also checking: what can't be read is a Failure before anything is recorded.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
import { unfinished } from "../text.ts";
import { attributesHead, binding, type Head, type Shape, type ValueVisitor, values } from "./bind.ts";
import { isText, shownValue, textOrBase64 } from "./value.ts";

type Members = Readonly<{ [member: string]: unknown }>;

/** Gathers the values that a walk comes by. */
const gatherer = (head: () => Head | undefined) => {
  let told: unknown[] = [];
  let index = -1; //        of the value we are at
  let type = 0;
  let within = false; //    has it begun and not ended?
  let open: Buffer[] = []; // what we have of it
  const flags = (): number => {
    const { types, count } = head() ?? { types: Buffer.alloc(0), count: 1 };
    return types[2 * (index % Math.max(1, count)) + 1] ?? 0;
  };
  const end = (): void => {
    told.push(shownValue(type, flags(), Buffer.concat(open)));
    open = [];
  };
  const visit: ValueVisitor = {
    value: (of, length, what) => {
      index++;
      type = of;
      within = length > 0;
      if (what === "null") told.push(null);
      else if (what !== "value") told.push({ [what]: true });
      else if (length === 0) end();
    },
    bytes: (bytes, ends) => {
      open.push(bytes);
      within = !ends;
      if (ends) end();
    },
  };
  /** Where a part ends inside a value: what can be said of it, and a copy of what can't, for the bytes are the relay's. */
  const breakOff = (): void => {
    if (open.length === 0) return;
    const bytes = Buffer.concat(open);
    const cut = isText(type) ? bytes.length - unfinished(bytes) : 0;
    if (cut > 0) told.push(textOrBase64(bytes.subarray(0, cut)));
    open = cut < bytes.length ? [Buffer.from(bytes.subarray(cut))] : [];
  };
  return {
    visit,
    /** Which value the first one here is, and whether it began in the part before. */
    place: (): Members => (within ? { from: index, continues: true } : index >= 0 ? { from: index + 1 } : {}),
    take: (): readonly unknown[] => {
      breakOff();
      const all = told;
      told = [];
      return all;
    },
  };
};

export interface Teller {
  /** @throws Failure `protocol` */
  tell(piece: Buffer): Members;
  done(): boolean;
}

const attributesOf = ({ count, names }: Head, parameters: number, told: readonly unknown[]): Members =>
  Object.fromEntries(
    Array.from({ length: count - parameters }, (_, at) => [
      String(names[parameters + at] ?? ""),
      told[parameters + at],
    ]),
  );

/** One an EXECUTE; `begun` hears of the types it sends. */
export const openTeller = (kind: "execute" | "bulk", shape: Shape, begun: (head: Head) => void): Teller => {
  let head: Head | undefined;
  const gather = gatherer(() => head);
  const watch = {
    visit: gather.visit,
    begun: (read: Head): void => {
      head = read;
      begun(read);
    },
  };
  const walk = binding(kind, shape, watch);
  let told = false;
  return {
    tell: (piece) => {
      const place = gather.place();
      walk.step(piece, 0, piece.length);
      const list = gather.take();
      const type = kind === "execute" ? "execute" : "bulk_execute";
      const opened =
        head && !told ? { statement: head.statement, ...(kind === "bulk" ? { parameters: head.count } : {}) } : {};
      told ||= head !== undefined;
      // values behind the statement's own are attributes, where all of them are here
      if (head && head.count > shape.parameters && walk.done() && list.length === head.count)
        return {
          type,
          ...opened,
          values: list.slice(0, shape.parameters),
          attributes: attributesOf(head, shape.parameters, list),
        };
      return { type, ...opened, ...place, values: list };
    },
    done: () => walk.done(),
  };
};

/** A query's attributes by name. */
export const tellAttributes = (bytes: Buffer): Members => {
  const head = attributesHead(bytes);
  const gather = gatherer(() => head);
  values(head, undefined, gather.visit).step(bytes, head.at, bytes.length);
  return attributesOf(head, 0, gather.take());
};
