import { join } from "node:path";
import { projectRoot } from "../../test/support/test-engine.ts";
import { interleaved, type Figure } from "../figures.ts";
import { docker } from "../programs.ts";
import type { Stage } from "../stage.ts";

const example = join(projectRoot, "examples", "helloworld");
const base = "vitrine/bun";

/** The example's whole build without cache, by docker's command line; the other engine has the base image already. */
export async function build({ engine, dockerd, folder }: Stage): Promise<Figure> {
  const words = ["build", "--no-cache", "-q", "-t", "helloworld", example];
  await docker(engine.socket, "build", "-q", "-t", "helloworld", example);
  const contestants: Record<string, () => Promise<void>> = { vitrine: () => docker(engine.socket, ...words) };
  if (typeof dockerd !== "string") {
    const archive = join(folder, "base.tar");
    await docker(engine.socket, "save", "-o", archive, base);
    await docker(dockerd.socket, "load", "-q", "-i", archive);
    contestants[`${dockerd.name} classic`] = () => docker(dockerd.socket, ...words);
  }
  const series = await interleaved(contestants, { rounds: 5, warmUps: 1 });
  return { title: "docker build --no-cache examples/helloworld (7 steps)", unit: "ms", series };
}
