// Builds that are told by a folder each: test/fixtures/builds/NAME.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { newScratch } from "./scratch.ts";
import { projectRoot, runProgram, type Outcome } from "./test-engine.ts";

export const examplesFolder = join(projectRoot, "test", "fixtures", "builds");

/**
 * A build. Beside `Dockerfile` a folder may hold `context.sh`, which makes the context where it is run, `again.sh`, which changes it before
 * a second build, `before/Dockerfile`, an image that is built first under the name `before`, and `build.json`. `expected.txt` is what
 * `describeImage` says of the result.
 */
export interface BuildExample {
  readonly name: string;
  readonly folder: string;
  /** Words for the command line. `{{server}}` is the server of `serveExamples`. */
  readonly flags: readonly string[];
  /** Why Docker's classic builder gives another result or none; undefined: it gives the same. */
  readonly notDocker: string | undefined;
  /** The client has to be asked while it is built: docker's command line cannot upload what this needs. */
  readonly needsSession: boolean;
}

export function buildExamples(): BuildExample[] {
  return readdirSync(examplesFolder)
    .toSorted()
    .map((name) => {
      const folder = join(examplesFolder, name);
      const file = join(folder, "build.json");
      const about = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Partial<BuildExample>) : {};
      const { flags = [], notDocker, needsSession = false } = about;
      return { name, folder, flags, notDocker, needsSession };
    });
}

const applets = "rm mkdir chown chmod ln find sha256sum".split(" ");

/** What the examples' base image holds beside every test's busybox. */
export function addForExamples(root: string): void {
  for (const name of applets) symlinkSync("busybox", join(root, "bin", name));
  chmodSync(join(root, "tmp"), 0o1777);
}

/** Makes the context in `folder`, an empty one, with the Dockerfile in it. */
export async function makeContext({ folder: from }: BuildExample, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await sh(`cp ${from}/Dockerfile . && if [ -e ${from}/context.sh ]; then . ${from}/context.sh; fi`, folder);
}

export async function changeContext({ folder: from }: BuildExample, folder: string): Promise<void> {
  await sh(`. ${from}/again.sh`, folder);
}

async function sh(script: string, folder: string): Promise<void> {
  const { exitCode, stderr } = await runProgram(["sh", "-ec", `umask 022\ncd "$0"\n${script}`, folder]);
  if (exitCode !== 0) throw new Error(`The context of ${folder} is not made: ${stderr}`);
}

/** docker's command line with its classic builder against any engine. */
export function dockerBuild(socket: string, words: readonly string[]): Promise<Outcome> {
  const command = ["timeout", "-s", "KILL", "120", "docker", "-H", `unix://${socket}`, "build", ...words];
  return runProgram(command, { DOCKER_BUILDKIT: "0" });
}

/** What an engine's API says of an image, as text that has no times and ids in it; `layers` are digests. */
export async function readImage(
  socket: string,
  image: string,
): Promise<{ config: string; history: string; layers: readonly string[] }> {
  const [inspect, history, base] = await Promise.all([
    ask(socket, `/images/${image}/json`).then((answer) => answer.json() as Promise<Inspect>),
    ask(socket, `/images/${image}/history`).then((answer) => answer.json() as Promise<HistoryLine[]>),
    ask(socket, "/images/busybox/json").then((answer) => answer.json() as Promise<Inspect>),
  ]);
  const all = inspect.RootFS.Layers ?? [];
  const below = all[0] === base.RootFS.Layers?.[0] ? 1 : 0;
  const lines = history.slice(0, history.length - below).toReversed();
  return {
    config: `Config ${JSON.stringify(setMembers({ ...inspect.Config, Image: "", Author: inspect.Author }), null, 2)}\n`,
    history: lines.map(({ CreatedBy }) => `  ${CreatedBy.replaceAll(/\b[0-9a-f]{64}\b/g, "DIGEST")}\n`).join(""),
    layers: all.slice(below),
  };
}

/** Config, history, and what each layer above the base's holds. */
export async function describeImage(socket: string, image: string): Promise<string> {
  const { config, history, layers } = await readImage(socket, image);
  const archive = layers.length === 0 ? undefined : await (await ask(socket, `/images/${image}/get`)).bytes();
  const files = archive ? await describeLayers(archive, layers.length) : [];
  return `${config}History\n${history}${files.map((line) => `${line}\n`).join("")}`;
}

async function ask(socket: string, path: string): Promise<Response> {
  const response = await fetch(`http://engine${path}`, { unix: socket });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response;
}

interface Inspect {
  readonly Author: string;
  readonly Config: Record<string, unknown>;
  readonly RootFS: { readonly Layers?: readonly string[] };
}

interface HistoryLine {
  readonly CreatedBy: string;
}

/** Members that say something, by name. */
function setMembers(config: Record<string, unknown>): Record<string, unknown> {
  const says = ([, value]: [string, unknown]): boolean =>
    value !== null &&
    value !== "" &&
    value !== false &&
    !(typeof value === "object" && Object.keys(value).length === 0);
  return Object.fromEntries(
    Object.entries(config)
      .filter(says)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

async function describeLayers(archive: Uint8Array, count: number): Promise<string[]> {
  await using scratch = newScratch();
  await Bun.write(join(scratch.path, "save.tar"), archive);
  await sh("tar -xf save.tar", scratch.path);
  const [{ Layers: layers }] = JSON.parse(readFileSync(join(scratch.path, "manifest.json"), "utf8")) as [
    { Layers: string[] },
  ];
  const lines: string[] = [];
  for (const [index, layer] of layers.slice(-count).entries()) {
    const folder = join(scratch.path, `layer-${index}`);
    mkdirSync(folder);
    await sh(`tar --numeric-owner -xpf ../${layer}`, folder);
    lines.push(`Layer ${index + 1}`, ...describeTree(folder));
  }
  return lines;
}

/** A line an entry: type and mode, owner, and content, target or the name it shares its content with. */
export function describeTree(root: string): string[] {
  const seen = new Map<number, string>();
  const walk = (path: string): string[] =>
    readdirSync(join(root, path))
      .toSorted()
      .flatMap((name) => {
        const at = path === "" ? name : `${path}/${name}`;
        const stat = lstatSync(join(root, at));
        // A whiteout's own mode means nothing, and differs between engines.
        if (name.startsWith(".wh.")) return [`  whiteout ${at}`];
        const facts = `${(stat.mode & 0o7777).toString(8).padStart(4, "0")} ${stat.uid}:${stat.gid}`;
        if (stat.isDirectory()) return [`  ${facts} ${at}/`, ...walk(at)];
        if (stat.isSymbolicLink()) return [`  link ${stat.uid}:${stat.gid} ${at} -> ${readlinkSync(join(root, at))}`];
        if (!stat.isFile()) return [`  special ${facts} ${at}`];
        const first = seen.get(stat.ino);
        if (first !== undefined) return [`  ${facts} ${at} = ${first}`];
        seen.set(stat.ino, at);
        const content = stat.size > 300 ? `${stat.size} bytes` : JSON.stringify(readFileSync(join(root, at), "utf8"));
        return [`  ${facts} ${at} ${content}`];
      });
  return walk("");
}

/** Of a classic builder's text: each step, and whether the cache had it. */
export function cachedSteps(text: string): string[] {
  return text
    .split(/^Step \d+\/\d+ : /m)
    .slice(1)
    .map((step) => `  ${step.includes("---> Using cache") ? "cached" : "done"} ${step.split("\n")[0]}`);
}
