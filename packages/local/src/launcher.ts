// What makes a child process end with us, even when we are killed outright: util-linux's setpriv, where there is one.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const executable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** Words to put before a command; none where the system can't. `signal` is what the child gets: INT, KILL. */
export const launcher = (signal: "INT" | "KILL"): readonly string[] => {
  if (process.platform !== "linux") return [];
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/bin"];
  const setpriv = folders.map((folder) => join(folder, "setpriv")).find(executable);
  return setpriv === undefined ? [] : [setpriv, "--pdeathsig", signal, "--"];
};
