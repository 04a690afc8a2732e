// What is measured goes into a document between two marks, `<!-- name -->` and `<!-- /name -->`; the words around are people's.
import { readFile, writeFile } from "node:fs/promises";

/** @throws an Error when the file has no such marks */
export const writeBetween = async (file: string, name: string, text: string): Promise<void> => {
  const marks = [`<!-- ${name} -->`, `<!-- /${name} -->`] as const;
  const old = await readFile(file, "utf8");
  const [begin, end] = [old.indexOf(marks[0]), old.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`${file} has no ${marks.join(" … ")}`);
  await writeFile(file, `${old.slice(0, begin + marks[0].length)}\n\n${text}\n\n${old.slice(end)}`);
};
