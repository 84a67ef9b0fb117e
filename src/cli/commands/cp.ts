import { lstatSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type ApiClient, isEngineRefusal, pathPart } from "../../api/client/index.ts";
import { formatSize } from "../../common/index.ts";
import type { Command, Invocation } from "../command.ts";
import { copyName, type CopySide, parseCopySide, planCopy } from "../copy-paths.ts";
import type { FlagValues } from "../flag-values.ts";
import { printError, writeBytes } from "../output.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\ncp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
  description: "Copy files/folders between a container and the local filesystem",
  details: `Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`,
  aliases: ["container cp", "cp"],
  flags: [
    { name: "archive", short: "a", kind: "bool", description: "Archive mode (copy all uid/gid information)" },
    { name: "follow-link", short: "L", kind: "bool", description: "Always follow symbol link in SRC_PATH" },
    { name: "quiet", short: "q", kind: "bool", description: "Suppress progress output during copy" },
  ],
  arguments: { min: 2, max: 2 },
  run: copy,
};

async function copy({ flags, args, client }: Invocation): Promise<number> {
  const [source, target] = [parseCopySide(args[0] ?? ""), parseCopySide(args[1] ?? "")];
  if (source.container !== undefined && target.container !== undefined) {
    throw new CommandFailure("copying between containers is not supported");
  }
  if (source.container === undefined && target.container === undefined) {
    throw new CommandFailure("must specify at least one container source");
  }
  const engine = await client();
  const sizeBytes =
    source.container === undefined
      ? await copyIn(engine, { source, target, flags })
      : await copyOut(engine, { source, target, flags });
  const quiet = flags.changed("quiet") ? flags.bool("quiet") : !process.stdout.isTTY;
  if (sizeBytes !== undefined && !quiet) {
    const where = target.container === undefined ? resolve(target.path) : `${target.container}:${target.path}`;
    printError(`Successfully copied ${formatSize(sizeBytes, 3)} to ${where}\n`);
  }
  return 0;
}

interface Copy {
  readonly source: CopySide;
  readonly target: CopySide;
  readonly flags: FlagValues;
}

interface ContainerPath {
  readonly path: string;
  readonly isDirectory: boolean;
  readonly linkTarget: string | undefined;
}

async function copyOut(engine: ApiClient, { source, target, flags }: Copy): Promise<number | undefined> {
  const container = source.container ?? "";
  if (target.path !== "-") checkParent(dirname(resolve(target.path)));
  let { path } = source;
  if (flags.bool("follow-link")) path = (await statContainer(engine, container, path))?.linkTarget ?? path;
  const answer = await engine.call("GET", archivePath(container), { query: { path } });
  if (target.path === "-") {
    for await (const chunk of answer.body) await writeBytes("stdout", chunk);
    return undefined;
  }
  const stat = parseStat(answer.headers.get("x-docker-container-path-stat"), path);
  const local = statSync(target.path, { throwIfNoEntry: false });
  const wanted = resolve(target.path) + (/\/\.?$/.test(target.path) ? "/" : "");
  const plan = planCopy(
    { path, isDirectory: stat?.isDirectory ?? false },
    { path: wanted, exists: local !== undefined, isDirectory: local?.isDirectory() ?? false },
  );
  checkParent(plan.into);
  // A followed link keeps its own name, as cp -L does.
  const name = plan.name === copyName(path) ? copyName(source.path) : plan.name;
  const { extractRenamed } = await import("../copy-archive.ts");
  return await extractRenamed(answer.body, { into: plan.into, from: copyName(path), to: name });
}

function checkParent(directory: string): void {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new CommandFailure(`invalid output path: directory ${JSON.stringify(directory)} does not exist`);
}

async function copyIn(engine: ApiClient, { source, target, flags }: Copy): Promise<number | undefined> {
  const container = target.container ?? "";
  if (source.path !== "-" && !lstatSync(source.path, { throwIfNoEntry: false })) {
    throw new CommandFailure(`lstat ${resolve(source.path)}: no such file or directory`);
  }
  const there = await statTarget(engine, container, target.path);
  const query = { noOverwriteDirNonDir: true, copyUIDGID: flags.bool("archive") ? "true" : undefined };
  if (source.path === "-") {
    if (!there.isDirectory) throw new CommandFailure(`destination "${container}:${target.path}" must be a directory`);
    await engine.call("PUT", archivePath(container), { query: { path: there.path, ...query }, upload: process.stdin });
    return undefined;
  }
  const followed = flags.bool("follow-link") || /\/\.?$/.test(source.path);
  const local = (followed ? statSync : lstatSync)(source.path, { throwIfNoEntry: false });
  if (!local) throw new CommandFailure(`lstat ${resolve(source.path)}: no such file or directory`);
  const absolute = resolve(source.path) + (/(^|\/)\.$/.test(source.path) ? "/." : "");
  const plan = planCopy({ path: absolute, isDirectory: local.isDirectory() }, there);
  const { packLocal } = await import("../copy-archive.ts");
  const packed = await packLocal(absolute, { name: plan.name, followLink: followed });
  await engine.call("PUT", archivePath(container), { query: { path: plan.into, ...query }, upload: packed.tar });
  return packed.sizeBytes();
}

async function statTarget(
  engine: ApiClient,
  container: string,
  path: string,
): Promise<{ path: string; exists: boolean; isDirectory: boolean }> {
  const first = await statContainer(engine, container, path);
  const followed = first?.linkTarget;
  const stat = followed === undefined ? first : await statContainer(engine, container, followed);
  return { path: followed ?? path, exists: stat !== undefined, isDirectory: stat?.isDirectory ?? false };
}

/** undefined when there is nothing at the path, or no such container: then the copy itself says so. */
async function statContainer(engine: ApiClient, container: string, path: string): Promise<ContainerPath | undefined> {
  try {
    const answer = await engine.call("HEAD", archivePath(container), { query: { path } });
    return parseStat(answer.headers.get("x-docker-container-path-stat"), path);
  } catch (thrown) {
    // An answer to HEAD has no body: the copy's own call gets the reason.
    if (isEngineRefusal(thrown)) return undefined;
    throw thrown;
  }
}

const directoryBit = 2 ** 31;
const symlinkBit = 2 ** 27;

/** The header carries base64 JSON with Go's file mode (Engine API, "Get information about files in a container"). */
function parseStat(header: string | undefined, path: string): ContainerPath | undefined {
  if (header === undefined) return undefined;
  const stat = JSON.parse(Buffer.from(header, "base64").toString()) as { mode: number; linkTarget?: string };
  const has = (bit: number): boolean => Math.floor(stat.mode / bit) % 2 === 1;
  const parent = path.replace(/[^/]*\/?$/, "");
  const link = stat.linkTarget ?? "";
  const linkTarget = has(symlinkBit) && link !== "" ? (link.startsWith("/") ? link : parent + link) : undefined;
  return { path, isDirectory: has(directoryBit), linkTarget };
}

function archivePath(container: string): string {
  return `/containers/${pathPart(container)}/archive`;
}
