import { EngineError } from "../common/index.ts";

/**
 * `top`: the host's ps with the caller's arguments, cut down to these processes. The PID column is found by its heading, as Docker
 * does. Throws when ps refuses the arguments or prints no PID.
 */
export async function processTable(
  psArguments: readonly string[],
  pids: readonly number[],
): Promise<{ Titles: string[]; Processes: string[][] }> {
  for (const argument of psArguments) {
    // ps can print environments of other processes (`e`) only for root's own table; anything else it takes is harmless.
    if (!/^[-\w,=%:.+]+$/.test(argument))
      throw new EngineError("invalidArgument", `The ps argument "${argument}" is not one`);
  }
  const ps = Bun.which("ps");
  if (!ps)
    throw new EngineError(
      "unavailable",
      "Cannot list processes: there is no ps on this machine (Debian: apt-get install procps)",
    );
  const run = Bun.spawn([ps, ...psArguments], { stdout: "pipe", stderr: "pipe", stdin: "ignore" });
  const [output, words, status] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  if (status !== 0)
    throw new EngineError("invalidArgument", `ps refused its arguments: ${words.trim().split("\n")[0] ?? ""}`);
  const [heading = "", ...lines] = output.split("\n");
  const titles = heading.trim().split(/\s+/);
  const pidColumn = titles.indexOf("PID");
  if (pidColumn < 0) throw new EngineError("invalidArgument", "Couldn't find PID field in ps output");
  const wanted = new Set(pids.map(String));
  const processes = lines
    .map((line) => splitColumns(line, titles.length))
    .filter((columns) => wanted.has(columns[pidColumn] ?? ""));
  return { Titles: titles, Processes: processes };
}

/** The last column, the command, keeps its spaces. */
function splitColumns(line: string, count: number): string[] {
  const fields = line.trim().split(/\s+/);
  if (fields.length <= count) return fields;
  return [...fields.slice(0, count - 1), fields.slice(count - 1).join(" ")];
}
