// The mariadb command line as people use it, called as `sally` calls it. Its Ctrl-C opens a connection and kills by id.
import { programWords } from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import { beforeEach, describe, expect, it } from "vitest";
import { atWork, type Ground } from "../mysql-world.ts";
import { isOnPath, type Outcome, type Running, run, start } from "./program.ts";
import type { Place } from "./way.ts";

/** Program and arguments, without the user's own option files. */
export const cliWords = (place: Place, program = "mariadb"): readonly [string, ...string[]] => {
  const { host, port, user, database: name, caFile } = place;
  const tls = caFile === undefined ? {} : { tls: { caFile } };
  const target = { protocol: "mysql", host, port, user, name, password: secret(place.password), ...tls } as const;
  const [, ...words] = programWords(target, "mariadb");
  return [program, "--no-defaults", ...words];
};

export const mariadbCliSuite = ({ way, server }: Ground): void => {
  const begin = async (input: string, ...flags: readonly string[]): Promise<Running> => {
    const [program, ...words] = cliWords(await way.place());
    return start(program, [...words, "--batch", "--skip-column-names", ...flags], { input });
  };
  const mariadb = async (input: string, ...flags: readonly string[]): Promise<Outcome> =>
    (await begin(input, ...flags)).outcome;

  describe(`mariadb (command line) through ${way.name}`, () => {
    beforeEach(({ skip }) => skip(!isOnPath("mariadb"), "mariadb is not on PATH: apt install mariadb-client"));

    it("is exactly the authorised user", async () => {
      expect(await mariadb("select current_user(), database();")).toMatchObject({
        status: 0,
        stdout: "reader@%\torders\n",
        stderr: "",
      });
    });
    it("gets several rows of several statements", async () => {
      const { stdout } = await mariadb("select id, name from item order by id limit 3; select 'two'; select 'three';");
      expect(stdout).toBe("1\titem 1\n2\titem 2\n3\titem 3\ntwo\nthree\n");
    });
    it("prepares and executes with parameters", async () => {
      const script = "prepare p from 'select name from item where id = ?'; set @n = 42; execute p using @n;";
      expect(await mariadb(script)).toMatchObject({ stdout: "item 42\n", stderr: "" });
    });
    it("is told an error with its number and SQLSTATE, and goes on when forced", async () => {
      const { status, stdout, stderr } = await mariadb(
        "insert into item values (0, '');\nselect 'still here';",
        "--force",
      );
      expect([status, stdout]).toEqual([0, "still here\n"]);
      expect(stderr).toContain("ERROR 1142 (42000)");
    });
    it("changes the database, and shows what there is", async () => {
      const { stdout } = await mariadb("use information_schema;\nselect database();\nuse orders;\nshow tables;");
      expect(stdout).toBe("information_schema\nitem\n");
    });
    it("Ctrl-C ends the statement and nothing else", async () => {
      const running = await begin("select sleep(60) as cli_cancel;\nselect 'still here';", "--force");
      await atWork(server(), "cli_cancel");
      running.child.kill("SIGINT");
      const { stdout, stderr } = await running.outcome;
      expect(stderr).toContain("ERROR 1317 (70100)");
      expect(stdout).toContain("still here");
    });
    it("a wrong user, or none, is told so", async () => {
      const [program, ...words] = cliWords({ ...(await way.place()), user: "writer" });
      const { status, stderr } = await run(program, [...words, "-e", "select 1"]);
      expect(status).toBe(1);
      expect(stderr).toMatch(/ERROR 1045 \(28000\)|ERROR 1044 \(42000\)|ERROR \d+ .*token is for user reader/);
    });
  });
};
