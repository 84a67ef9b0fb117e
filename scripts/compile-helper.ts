import { readdirSync } from "node:fs";
import { join } from "node:path";

const helperFolder = join(import.meta.dir, "..", "helper");

const strictFlags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wvla", "-D_GNU_SOURCE"];
const releaseFlags = ["-Os", "-static", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-s"];
const sanitizerFlags = [
  "-g",
  "-O1",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
  "-fno-omit-frame-pointer",
];

export interface CompileOptions {
  /** With AddressSanitizer and UndefinedBehaviorSanitizer, dynamically linked: for tests. */
  readonly sanitize?: boolean;
  /** Sources in place of helper/, for tests of another release. */
  readonly folder?: string;
  /** Text for macros, such as `{OP_SET: "0"}`. */
  readonly texts?: Readonly<Record<string, string>>;
}

/** Compiles helper/*.c into one executable at `output`. Throws a sentence that names the package when no compiler is there. */
export async function compileHelper(output: string, options: CompileOptions = {}): Promise<void> {
  const compiler = Bun.which("cc") ?? Bun.which("gcc") ?? Bun.which("clang");
  if (!compiler) {
    throw new Error("No C compiler found: install one (Debian: apt-get install gcc libc6-dev), then run npm ci again.");
  }
  const { folder = helperFolder, texts = {} } = options;
  const sources = readdirSync(folder)
    .filter((name) => name.endsWith(".c"))
    .map((name) => join(folder, name));
  const definitions = Object.entries(texts).map(([name, text]) => `-D${name}=${JSON.stringify(text)}`);
  const flags = options.sanitize ? sanitizerFlags : releaseFlags;
  const run = Bun.spawn([compiler, ...strictFlags, ...definitions, ...flags, "-o", output, ...sources], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [status, words] = await Promise.all([run.exited, new Response(run.stderr).text()]);
  if (status === 0) return;
  const lacksLibrary = /fatal error: .*\.h: No such file|cannot find -l/.test(words);
  const advice = lacksLibrary
    ? "\nThe C library's files are missing: install them (Debian: apt-get install libc6-dev)."
    : "";
  throw new Error(`The helper does not compile with ${compiler}:\n${words}${advice}`);
}
