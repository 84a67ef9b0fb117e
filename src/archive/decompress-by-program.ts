import { EngineError } from "../common/index.ts";

/** The programs that read what Bun cannot, each with the Debian package that has it. */
const programs = {
  xz: { words: ["xz", "-dcq", "--memlimit-decompress=1GiB"], debianPackage: "xz-utils" },
  bzip2: { words: ["bzip2", "-dcq"], debianPackage: "bzip2" },
} as const;

/** What a stranger's stream can make of the decompressor: nobody, who gets no privilege, writes no file and holds 1.5 GiB at the most. */
const script = 'ulimit -c 0 && ulimit -f 0 && ulimit -n 16 && ulimit -v 1572864 && exec "$@"';
const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all"];
const maxErrorCharacters = 200;

/**
 * The plain bytes of an xz or bzip2 stream, by the program of that name in a process without rights. Throws `unavailable` where it is not
 * installed, `invalidArgument` for a stream that is damaged or ends early. A reader that leaves ends the process.
 */
export async function* decompressByProgram(
  source: AsyncIterable<Uint8Array>,
  kind: keyof typeof programs,
): AsyncGenerator<Uint8Array> {
  const child = start(kind);
  const sending = send(source, child.stdin);
  // Whoever reads hears of it in the end.
  sending.catch(() => child.kill("SIGKILL"));
  const said = new Response(child.stderr).text();
  let complete = false;
  try {
    yield* child.stdout;
    await sending;
    complete = true;
  } finally {
    if (!complete) child.kill("SIGKILL");
    await child.exited;
  }
  if (child.exitCode === 0) return;
  const words = (await said).trim().replaceAll(/\s+/g, " ").slice(0, maxErrorCharacters);
  throw new EngineError("invalidArgument", `Cannot decompress the archive: its ${kind} stream is damaged (${words})`);
}

function start(kind: keyof typeof programs): Bun.Subprocess<"pipe", "pipe", "pipe"> {
  const { words, debianPackage } = programs[kind];
  const [program, ...options] = words;
  const path = requireProgram(program, { kind, debianPackage });
  const setpriv = requireProgram("setpriv", { kind, debianPackage: "util-linux" });
  return Bun.spawn(["/bin/sh", "-c", script, "sh", setpriv, ...nobody, path, ...options], {
    cwd: "/",
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
}

function requireProgram(program: string, { kind, debianPackage }: { kind: string; debianPackage: string }): string {
  const path = Bun.which(program, { PATH: process.env.PATH ?? "/usr/bin:/bin" });
  if (path !== null) return path;
  throw new EngineError(
    "unavailable",
    `Cannot decompress the archive: ${kind} needs the program ${program}, which is not installed here: on Debian it is in the package ${debianPackage}`,
  );
}

/** A program that ends before it has read all tells why by itself. */
async function send(source: AsyncIterable<Uint8Array>, input: Bun.FileSink): Promise<void> {
  for await (const chunk of source) {
    try {
      input.write(chunk);
      await input.flush();
    } catch {
      return;
    }
  }
  try {
    await input.end();
  } catch {
    // As above.
  }
}
