// The kernel's old packet filter, which only its own program can change: used when a host has rules in it.
import { readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";

/** Programs tables that the namespace has in the old filter; the file is there only where the kernel has it. */
const tablesInUse = "/proc/net/ip_tables_names";

export interface LegacyState {
  /** Chain that holds our two rules, if they are needed. */
  readonly chain: string | undefined;
  /** Why nothing could be done although the old filter is in use. */
  readonly problem: string | undefined;
}

export function isLegacyFilterInUse(): boolean {
  try {
    return readFileSync(tablesInUse, "utf8").split("\n").includes("filter");
  } catch {
    return false;
  }
}

/** What `iptables-legacy -S` says about forwarding. Exported for tests. */
export function readLegacyRules(listing: string): { drops: boolean; chain: string } {
  const lines = listing.split("\n");
  const forward = lines.filter((line) => line.startsWith("-A FORWARD "));
  const unconditional = forward.map((line) => /^-A FORWARD -j (ACCEPT|DROP|REJECT)\b/.exec(line)?.[1]).find(Boolean);
  const policy = /^-P FORWARD DROP/m.test(listing) ? "DROP" : "ACCEPT";
  const admin = lines.includes("-N DOCKER-USER") && forward.some((line) => line === "-A FORWARD -j DOCKER-USER");
  return { drops: (unconditional ?? policy) !== "ACCEPT", chain: admin ? "DOCKER-USER" : "FORWARD" };
}

/** Our two rules in the old filter. */
export class LegacyRules {
  readonly #bridge: string;
  readonly #tag: string;

  constructor(options: { bridge: string; tag: string }) {
    this.#bridge = options.bridge;
    this.#tag = options.tag;
  }

  /** Adds the rules where the old filter drops what is forwarded; takes them away where it does no longer. */
  async check(): Promise<LegacyState> {
    if (!isLegacyFilterInUse()) return { chain: undefined, problem: undefined };
    const program = legacyProgram();
    if (!program) {
      return {
        chain: undefined,
        problem: "the kernel's legacy filter is in use, and iptables-legacy is not installed",
      };
    }
    const listing = await run([program, "-w", "-S"]);
    const { drops, chain } = readLegacyRules(listing);
    const mine = this.#mine(listing);
    const inPlace = mine.filter((rule) => rule[1] === chain);
    if (drops && inPlace.length === 2 && mine.length === 2) return { chain, problem: undefined };
    await this.#delete(program, mine);
    if (!drops) return { chain: undefined, problem: undefined };
    for (const side of ["-i", "-o"]) {
      const rule = [side, this.#bridge, "-m", "comment", "--comment", this.#tag, "-j", "ACCEPT"];
      await run([program, "-w", "-I", chain, "1", ...rule]);
    }
    return { chain, problem: undefined };
  }

  async remove(): Promise<void> {
    const program = legacyProgram();
    if (!isLegacyFilterInUse() || !program) return;
    await this.#delete(program, this.#mine(await run([program, "-w", "-S"])));
  }

  /** Our rules as `-S` prints them, split into arguments. */
  #mine(listing: string): string[][] {
    const marked = `--comment "${this.#tag}"`;
    return listing
      .split("\n")
      .filter((line) => line.startsWith("-A ") && line.includes(marked))
      .map((line) => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? ""));
  }

  async #delete(program: string, rules: readonly (readonly string[])[]): Promise<void> {
    for (const [, ...rule] of rules) await run([program, "-w", "-D", ...rule]);
  }
}

function legacyProgram(): string | undefined {
  return Bun.which("iptables-legacy") ?? undefined;
}

async function run(command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [status, output, words] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (status === 0) return output;
  throw new EngineError("internal", `"${command.join(" ")}" failed: ${words.trim()}`);
}
