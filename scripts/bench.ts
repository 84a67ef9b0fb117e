// `npm run bench [NAME…]`: side-by-side benchmarks, each with its peer in the same run, interleaved. Prints medians; fails on no time.
import { cpus, release } from "node:os";
import { apiRun } from "../bench/cases/api-run.ts";
import { build } from "../bench/cases/build.ts";
import { buildMemory } from "../bench/cases/build-memory.ts";
import {
  buildAdds,
  buildCached,
  buildComputing,
  buildRuns,
  buildSleeping,
  buildUnchanged,
  buildUnchangedClassic,
} from "../bench/cases/build-speed.ts";
import { burst } from "../bench/cases/burst.ts";
import { cliStart } from "../bench/cases/cli-start.ts";
import { dockerRun } from "../bench/cases/docker-run.ts";
import { exec } from "../bench/cases/exec.ts";
import { firstWrite } from "../bench/cases/first-write.ts";
import { idleMemory, monitorMemory } from "../bench/cases/footprint.ts";
import { registryDownload, registryManifests, registryMemory } from "../bench/cases/registry.ts";
import { imageLoad, imagePull, imagePush, imageSave } from "../bench/cases/image-travel.ts";
import { formatFigure, type Figure } from "../bench/figures.ts";
import { setStage, type Stage } from "../bench/stage.ts";

const benchmarks: Readonly<Record<string, (stage: Stage) => Promise<Figure>>> = {
  "idle-memory": idleMemory,
  "api-run": apiRun,
  exec,
  "docker-run": dockerRun,
  "cli-start": cliStart,
  "monitor-memory": monitorMemory,
  burst,
  build,
  "build-runs": buildRuns,
  "build-cached": buildCached,
  "build-adds": buildAdds,
  "build-unchanged": buildUnchanged,
  "build-unchanged-classic": buildUnchangedClassic,
  "build-sleeping": buildSleeping,
  "build-computing": buildComputing,
  "build-memory": buildMemory,
  "first-write": firstWrite,
  "image-pull": imagePull,
  "image-load": imageLoad,
  "image-push": imagePush,
  "image-save": imageSave,
  "registry-download": registryDownload,
  "registry-manifests": registryManifests,
  "registry-memory": registryMemory,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in benchmarks));
if (unknown.length > 0) {
  console.error(`No benchmark "${unknown.join('", "')}"; there are ${Object.keys(benchmarks).join(", ")}.`);
  process.exit(1);
}

console.log(`${cpus().length} processors, Linux ${release()}; medians, the peers in the same run, interleaved\n`);
await using stage = await setStage();
for (const peer of [stage.dockerd, stage.podman]) if (typeof peer === "string") console.log(`SKIPPED PEER: ${peer}\n`);
for (const [name, benchmark] of Object.entries(benchmarks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  try {
    console.log(formatFigure(await benchmark(stage)));
  } catch (error) {
    process.exitCode = 1;
    console.log(`${name}: FAILED: ${(error as Error).message}\n`);
  }
}
