import { existsSync } from "node:fs";
import { interleaved, type Figure } from "../figures.ts";
import { run } from "../programs.ts";
import { vitrineProgram } from "../../test/support/test-engine.ts";

/** A command line that only says its version. */
export async function cliStart(): Promise<Figure> {
  const title = "vitrine version --client";
  if (!existsSync(vitrineProgram)) return { title, unit: "ms", series: [], remarks: ["dist/vitrine is not built"] };
  const contestants: Record<string, () => Promise<void>> = {
    vitrine: () => run([vitrineProgram, "version", "--client"]),
  };
  // docker's has no such flag; without a server it prints its own version and fails.
  if (Bun.which("docker")) contestants["docker --version"] = () => run(["docker", "--version"]);
  return { title, unit: "ms", series: await interleaved(contestants, { rounds: 25 }), target: { atMost: 15 } };
}
