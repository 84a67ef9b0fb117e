import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseBuildOutput, parseCsvAttributes, type BuildOutput } from "../spec/index.ts";
import type { OutputPlace } from "../api/client/index.ts";
import type { FlagValues } from "./flag-values.ts";
import { CommandFailure } from "./usage-error.ts";

/** As the engine takes exporters and caches: docker's names of the members. */
export interface NamedAttributes {
  readonly Type: string;
  readonly Attrs: Readonly<Record<string, string>>;
}

/** Where `--output`, `--load` and `--push` want the result; empty where the engine keeps it as ever. */
export interface BuildOutputs {
  readonly exporters: readonly NamedAttributes[];
  /** By place among `exporters`. */
  readonly places: ReadonlyMap<number, OutputPlace>;
}

export function buildOutputs(flags: FlagValues): BuildOutputs {
  const asked = flags.list("output").map(parseBuildOutput);
  if (flags.bool("load")) asked.push({ type: "docker", destination: undefined, attributes: {} });
  if (flags.bool("push")) asked.push({ type: "registry", destination: undefined, attributes: {} });
  const places = new Map<number, OutputPlace>();
  const exporters = asked.map((output, index): NamedAttributes => {
    const place = placeOf(output);
    if (place) places.set(index, place);
    const { type, attributes } = output;
    const isOfEngine = type === "docker" && !place;
    const names = flags.list("tag").join(",");
    const isImage = ["docker", "image", "oci", "registry"].includes(type);
    const Attrs =
      isImage && names !== "" && attributes["name"] === undefined ? { ...attributes, name: names } : attributes;
    return { Type: isOfEngine ? "image" : type, Attrs };
  });
  return { exporters, places };
}

function placeOf({ type, destination }: BuildOutput): OutputPlace | undefined {
  if (destination === undefined || destination === "") return undefined;
  if (type === "local") {
    const path = resolve(destination);
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === false)
      throw new CommandFailure(`destination directory ${destination} is a file`);
    return { kind: "folder", path };
  }
  if (destination === "-") return standardOutput();
  const path = resolve(destination);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new CommandFailure(`destination file ${destination} is a directory`);
  return fileAt(path);
}

function standardOutput(): OutputPlace {
  if (process.stdout.isTTY)
    throw new CommandFailure("dest file is required for an archive: refusing to write to the terminal");
  const write = (data: Uint8Array): Promise<void> =>
    new Promise((done, fail) => process.stdout.write(data, (error) => (error ? fail(error) : done())));
  return { kind: "file", write, end: () => {} };
}

/** The file is there whole or not at all. */
function fileAt(path: string): OutputPlace {
  const temporary = `${path}.${process.pid}.part`;
  let fd: number | undefined;
  return {
    kind: "file",
    write(data) {
      if (fd === undefined) {
        mkdirSync(dirname(path), { recursive: true });
        fd = openSync(temporary, "w", 0o644);
        process.once("exit", () => rmSync(temporary, { force: true }));
      }
      for (let done = 0; done < data.length;) done += writeSync(fd, data, done);
    },
    end() {
      if (fd === undefined) return;
      closeSync(fd);
      renameSync(temporary, path);
    },
  };
}

/** Caches of `--cache-from` and `--cache-to`, and the folders that they name. */
export interface BuildCaches {
  readonly imports: readonly NamedAttributes[];
  readonly exports: readonly NamedAttributes[];
  /** Folders of blobs by the names that the engine asks by. */
  readonly stores: Readonly<Record<string, string>>;
  /** Writes the index of a folder that a cache was written to. */
  readonly finish: (manifest: string) => void;
}

export function buildCaches(flags: FlagValues): BuildCaches {
  const stores: Record<string, string> = {};
  const store = (folder: string): void => void (stores[`local:${folder}`] = resolve(folder));
  const imports = flags.list("cache-from").flatMap((text): NamedAttributes[] => {
    const { type, attributes } = parseCacheEntry(text);
    if (type !== "local") return [{ Type: type, Attrs: attributes }];
    const { src = "", digest, tag = "latest", ...others } = attributes;
    if (src === "") throw new CommandFailure("local cache importer requires src");
    store(src);
    const found = digest ?? digestInIndex(resolve(src), tag);
    // As docker: a cache that is not there yet is no failure of the first build.
    if (found === undefined) return [];
    return [{ Type: type, Attrs: { ...others, src, digest: found } }];
  });
  const finishes: ((manifest: string) => void)[] = [];
  const exports = flags.list("cache-to").map((text): NamedAttributes => {
    const { type, attributes } = parseCacheEntry(text);
    if (type === "local") {
      const { dest = "", tag = "latest" } = attributes;
      if (dest === "") throw new CommandFailure("local cache exporter requires dest");
      store(dest);
      mkdirSync(resolve(dest), { recursive: true });
      finishes.push((manifest) => writeIndex(resolve(dest), { tag, manifest }));
    }
    return { Type: type, Attrs: attributes };
  });
  return { imports, exports, stores, finish: (manifest) => finishes.forEach((finish) => finish(manifest)) };
}

/** `type=…,name=value,…`; a text without `=` is a registry's reference. */
function parseCacheEntry(text: string): { type: string; attributes: Record<string, string> } {
  if (!text.includes("="))
    return text === "inline" ? { type: text, attributes: {} } : { type: "registry", attributes: { ref: text } };
  const { type, ...attributes } = parseCsvAttributes(text);
  if (type === undefined) throw new CommandFailure(`type required for "${text}"`);
  return { type, attributes };
}

interface LayoutIndex {
  manifests?: { digest?: string; annotations?: Record<string, string> }[];
}

function readIndex(folder: string): LayoutIndex | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as LayoutIndex;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw new CommandFailure(
      `"${folder}" is no OCI layout: its index.json cannot be read (${(error as Error).message})`,
    );
  }
}

const tagAnnotation = "org.opencontainers.image.ref.name";

/** The manifest that a tag of a layout names; undefined where there is no layout. */
export function digestInIndex(folder: string, tag: string): string | undefined {
  const manifests = readIndex(folder)?.manifests ?? [];
  return manifests.find(({ annotations }) => annotations?.[tagAnnotation] === tag)?.digest;
}

function writeIndex(folder: string, { tag, manifest }: { tag: string; manifest: string }): void {
  const others = (readIndex(folder)?.manifests ?? []).filter(({ annotations }) => annotations?.[tagAnnotation] !== tag);
  const own = { ...(JSON.parse(manifest) as object), annotations: { [tagAnnotation]: tag } };
  const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [...others, own] };
  const temporary = join(folder, `index.json.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(index));
  renameSync(temporary, join(folder, "index.json"));
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}
