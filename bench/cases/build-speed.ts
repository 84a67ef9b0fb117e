import { join } from "node:path";
import { addedFolders, writeContext, writeFiles } from "../build-context.ts";
import { interleaved, type Figure } from "../figures.ts";
import { docker, run } from "../programs.ts";
import { image, type Stage } from "../stage.ts";
import { vitrineProgram } from "../../test/support/test-engine.ts";

const smallRuns = 20;
const unchangedFiles = 20_000;
const unchangedMegabytes = 80;
const stagesAtOnce = 4;
const sleepSeconds = 2;
const bytesPerMegabyte = 1_000_000;

type Contestants = Record<string, () => Promise<void>>;

/** The same build on each engine: docker's classic builder by docker's command line, on both, and buildah. */
function builders({ engine, dockerd, podman }: Stage, context: string, flags: readonly string[]): Contestants {
  const words = ["build", "-q", "-t", "built", ...flags, context];
  const contestants: Contestants = { vitrine: () => docker(engine.socket, ...words) };
  if (typeof dockerd !== "string") {
    contestants[`${dockerd.name} classic`] = () => docker(dockerd.socket, ...words);
  }
  if (typeof podman !== "string") {
    const own = ["--isolation=chroot", "--network=host", "--layers", "--format=docker"];
    contestants[`buildah (${podman.name})`] = () =>
      podman.podman("build", "-q", "-t", "built", ...own, ...flags, context);
  }
  return contestants;
}

function contextOfRuns(folder: string): string {
  const runs = Array.from({ length: smallRuns }, (_, n) => `RUN ["busybox", "touch", "/made${n}"]`);
  return writeContext(join(folder, "runs"), [`FROM ${image}`, ...runs]);
}

/** Twenty small commands without cache. */
export async function buildRuns(stage: Stage): Promise<Figure> {
  const context = contextOfRuns(stage.folder);
  const series = await interleaved(builders(stage, context, ["--no-cache"]), { rounds: 3, warmUps: 1 });
  return { title: `Build of ${smallRuns} small RUNs, no cache`, unit: "ms", series, target: { ratioAtMost: 1 / 12 } };
}

/** The same build when nothing has changed. */
export async function buildCached(stage: Stage): Promise<Figure> {
  const context = contextOfRuns(stage.folder);
  const series = await interleaved(builders(stage, context, []), { rounds: 9, warmUps: 1 });
  return { title: `Build of ${smallRuns} small RUNs, all cached`, unit: "ms", series, target: { ratioAtMost: 1 } };
}

/** Twelve ADDs of folders, without cache. */
export async function buildAdds(stage: Stage): Promise<Figure> {
  const { folders, files, megabytes } = addedFolders;
  const context = join(stage.folder, "adds");
  const names = Array.from({ length: folders }, (_, n) => `part${n}`);
  writeContext(context, [`FROM ${image}`, ...names.map((name) => `ADD ${name} /srv/${name}/`)]);
  for (const [seed, name] of names.entries()) {
    const bytes = (megabytes * bytesPerMegabyte) / folders;
    writeFiles(join(context, name), { files: Math.floor(files / folders), bytes, seed });
  }
  const series = await interleaved(builders(stage, context, ["--no-cache"]), { rounds: 2, warmUps: 0 });
  await run(["rm", "-rf", context]);
  return {
    title: `Build of ${folders} ADDs of folders (${files} files, ${megabytes} MB), no cache`,
    unit: "ms",
    series,
    target: { ratioAtMost: 1 / 6 },
  };
}

/** A context of many files of which none has changed, by our own command line, which sends what is new. */
export async function buildUnchanged(stage: Stage): Promise<Figure> {
  const context = unchangedContext(stage);
  const environment = { DOCKER_HOST: `unix://${stage.engine.socket}` };
  const contestants = { vitrine: () => run([vitrineProgram, "build", "-q", "-t", "built", context], environment) };
  const series = await interleaved(contestants, { rounds: 5, warmUps: 2 });
  await run(["rm", "-rf", context]);
  return {
    title: `vitrine build of a context of ${unchangedFiles} unchanged files, cached`,
    unit: "ms",
    series,
    target: { atMost: 400 },
  };
}

/** The same by docker's command line and the classic endpoint, which sends the whole tar each time. */
export async function buildUnchangedClassic(stage: Stage): Promise<Figure> {
  const context = unchangedContext(stage);
  const series = await interleaved(builders(stage, context, []), { rounds: 3, warmUps: 1 });
  await run(["rm", "-rf", context]);
  return {
    title: `docker build of a context of ${unchangedFiles} unchanged files, cached, whole tar`,
    unit: "ms",
    series,
    target: { ratioAtMost: 1 },
  };
}

function unchangedContext({ folder }: Stage): string {
  const context = writeContext(join(folder, "unchanged"), [`FROM ${image}`, "COPY . /srv/"]);
  writeFiles(join(context, "files"), { files: unchangedFiles, bytes: unchangedMegabytes * bytesPerMegabyte });
  return context;
}

/** Stages that only sleep: all of them should take as long as one. */
export async function buildSleeping(stage: Stage): Promise<Figure> {
  const sleep = `RUN ["busybox", "sleep", "${sleepSeconds}"]`;
  const all = stagesAtTheSameTime(stage, "sleeping", sleep);
  const one = writeContext(join(stage.folder, "sleeping-one"), [`FROM ${image}`, sleep]);
  const series = await onOurs(stage, { "four at once": all, "one alone": one });
  return {
    title: `Four stages that sleep ${sleepSeconds} s, and one`,
    unit: "ms",
    series,
    target: { ratioAtMost: 1.15 },
  };
}

/** Stages that compute, beside the same commands one after the other. */
export async function buildComputing(stage: Stage): Promise<Figure> {
  const compute = 'RUN ["busybox", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i > /done"]';
  const all = stagesAtTheSameTime(stage, "computing", compute);
  const lines = Array.from({ length: stagesAtOnce }, () => compute);
  const inSequence = writeContext(join(stage.folder, "computing-sequence"), [`FROM ${image}`, ...lines]);
  const series = await onOurs(stage, { "four at once": all, "in sequence": inSequence });
  return { title: "Four stages that compute, and in sequence", unit: "ms", series, target: { ratioAtMost: 1 / 1.4 } };
}

function stagesAtTheSameTime({ folder }: Stage, name: string, command: string): string {
  const numbers = Array.from({ length: stagesAtOnce }, (_, n) => n);
  return writeContext(join(folder, name), [
    ...numbers.flatMap((n) => [`FROM ${image} AS s${n}`, command, `RUN ["busybox", "touch", "/made${n}"]`]),
    `FROM ${image}`,
    ...numbers.map((n) => `COPY --from=s${n} /made${n} /`),
  ]);
}

async function onOurs({ engine }: Stage, contexts: Record<string, string>): Promise<Figure["series"]> {
  const contestants = Object.fromEntries(
    Object.entries(contexts).map(([name, context]) => [
      name,
      () => docker(engine.socket, "build", "-q", "--no-cache", context),
    ]),
  );
  return interleaved(contestants, { rounds: 3, warmUps: 1 });
}
