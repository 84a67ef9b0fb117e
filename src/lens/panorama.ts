import { readFileSync } from "node:fs";
import { treeSize } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import type { Engine } from "../engine/index.ts";
import { namespaceInodes, openCgroups } from "../kernel/index.ts";
import type { Panorama } from "../spec/index.ts";

/** Everything behind one container, read from the kernel and the disk now. Parts that a stopped container lacks are null. */
export async function panorama(engine: Engine, idOrName: string): Promise<Panorama> {
  const container = await engine.containers.inspect(idOrName, { size: true });
  const directories = container.GraphDriver.Data ?? {};
  const [init = "", ...lower] = (directories["LowerDir"] ?? directories["InitDir"] ?? "").split(":");
  const running = container.State.Running;
  return {
    container,
    process: running ? unlessEnded(() => processView(container.State.Pid)) : null,
    cgroup: running ? unlessEnded(() => cgroupView(container.State.Pid)) : null,
    readWriteLayer: {
      directory: directories["UpperDir"] ?? directories["RootDir"] ?? "",
      sizeBytes: container.SizeRw ?? 0,
      mountPoints: container.Mounts.map((mount) => mount.Destination),
    },
    initLayer: { directory: init },
    ...(await imageView(engine, container.Image, lower)),
  };
}

type ImageView = Pick<Panorama, "imageLayers" | "imageReferences">;

/** An image may be removed by force while a stopped container stands on its layers: then those are all there is to tell. */
async function imageView(engine: Engine, id: string, directories: readonly string[]): Promise<ImageView> {
  try {
    const { RepoTags } = await engine.images.inspect(id);
    return { imageLayers: await engine.images.layers(id), imageReferences: RepoTags };
  } catch (error) {
    if (!(error instanceof EngineError && error.code === "notFound")) throw error;
    const layers = directories.map(async (directory) => ({
      directory,
      diffId: "",
      instruction: "",
      sizeBytes: await treeSize(directory),
    }));
    return { imageLayers: await Promise.all(layers), imageReferences: [] };
  }
}

/** A process may end between two looks at it. */
function unlessEnded<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException | EngineError;
    if (code === "ENOENT" || code === "ESRCH" || code === "notFound") return null;
    throw error;
  }
}

function processView(pid: number): Panorama["process"] {
  const ours = namespaceInodes("self");
  const theirs = namespaceInodes(pid);
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const namespaces = Object.entries(theirs).map(
    ([name, inode]) => [name, { inode, sharedWithHost: ours[name as keyof typeof ours] === inode }] as const,
  );
  return {
    pid,
    command: readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").replaceAll("\0", " "),
    uid: Number(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? 0),
    namespaces: Object.fromEntries(namespaces),
  };
}

/** The group is the one the kernel says the process is in, not the one that we meant to put it in. */
function cgroupView(pid: number): Panorama["cgroup"] {
  const cgroups = openCgroups();
  const path = ownGroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  if (path === undefined) return null;
  return { version: cgroups.support.version, directories: cgroups.directories(path), values: cgroups.read(path) };
}

/** The deepest path of `hierarchy:controllers:path` lines: a hierarchy that the engine does not use says `/`. */
function ownGroup(text: string): string | undefined {
  const paths = text
    .trim()
    .split("\n")
    .map((line) => line.split(":").slice(2).join(":"));
  return paths.sort((left, right) => right.length - left.length)[0];
}
