import { join } from "node:path";
import { writeContext, writeFiles } from "../build-context.ts";
import type { Figure } from "../figures.ts";
import { peakMegabytes, resetPeak } from "../memory.ts";
import { run } from "../programs.ts";
import { image, type Stage } from "../stage.ts";
import { vitrineProgram } from "../../test/support/test-engine.ts";

const contextMegabytes = 1000;
const bytesPerMegabyte = 1_000_000;

/** What the daemon holds at the most while it takes in, hashes and copies a context of 1 GB: by our own command line and by a tar. */
export async function buildMemory({ engine, folder }: Stage): Promise<Figure> {
  const context = writeContext(join(folder, "large"), [`FROM ${image}`, "COPY . /srv/"]);
  writeFiles(join(context, "files"), { files: 100, bytes: contextMegabytes * bytesPerMegabyte });
  const words = ["-q", "--no-cache", "-t", "large", context];
  const docker = ["docker", "-H", `unix://${engine.socket}`];
  const ways: Record<string, () => Promise<void>> = {
    "vitrine build": () => run([vitrineProgram, "build", ...words], { DOCKER_HOST: `unix://${engine.socket}` }),
    "docker build, whole tar": () => run([...docker, "build", ...words], { DOCKER_BUILDKIT: "0" }),
  };
  const series: Figure["series"][number][] = [];
  for (const [name, work] of Object.entries(ways)) {
    resetPeak(engine.pid);
    await work();
    series.push({ engine: name, samples: [peakMegabytes(engine.pid)] });
    await run([...docker, "rmi", "-f", "large"]);
  }
  await run(["rm", "-rf", context]);
  return { title: "Daemon's peak memory with a build context of 1 GB", unit: "MB", series, target: { atMost: 150 } };
}
