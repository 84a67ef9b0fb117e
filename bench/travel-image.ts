import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./programs.ts";

/** The image that is pulled, loaded, pushed and saved: as an application's, many small files and some large ones. */
export const travelImage = { layers: 12, files: 26_000, megabytes: 420 } as const;
const bytesPerMegabyte = 1_000_000;
/** Of a layer's bytes, what its ten largest files have; the others share the rest. */
const largeShare = 0.6;
const largeFiles = 10;

/**
 * Writes it as a docker-archive with plain layers, made by tar(1), whose tag is `NAME:latest`; another name is another image. What is in the
 * files are pieces of this machine's own programs, which compress as such things do.
 */
export async function makeTravelArchive(folder: string, imageName: string): Promise<string> {
  const seed = Bun.hash.crc32(imageName) % 1_000_000;
  const corpus = readFileSync(process.execPath);
  const layers: { name: string; diffId: string }[] = [];
  const files = Math.floor(travelImage.files / travelImage.layers);
  const bytes = (travelImage.megabytes * bytesPerMegabyte) / travelImage.layers;
  for (let number = 0; number < travelImage.layers; number++) {
    const tree = join(folder, `tree${number}`);
    writeTree(tree, { number, files, bytes, corpus, seed });
    const name = `${imageName}-layer${number}.tar`;
    await run(["tar", "-C", tree, "--sort=name", "--mtime=@1700000000", "-cf", join(folder, name), "."]);
    await run(["rm", "-rf", tree]);
    layers.push({ name, diffId: await sha256(join(folder, name)) });
  }
  const config = {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { Cmd: ["true"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const manifest = [
    { Config: "config.json", RepoTags: [`${imageName}:latest`], Layers: layers.map(({ name }) => name) },
  ];
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, `${imageName}.tar`);
  const members = [...layers.map(({ name }) => name), "config.json", "manifest.json"];
  await run(["tar", "-C", folder, "-cf", archive, ...members]);
  for (const name of members) await run(["rm", join(folder, name)]);
  return archive;
}

function writeTree(
  tree: string,
  part: { number: number; files: number; bytes: number; corpus: Buffer; seed: number },
): void {
  const { number, files, bytes, corpus, seed } = part;
  let at = number * 7_919_113 + seed;
  for (let file = 0; file < files; file++) {
    const isLarge = file < largeFiles;
    const mean = isLarge ? (bytes * largeShare) / largeFiles : (bytes * (1 - largeShare)) / (files - largeFiles);
    const size = Math.floor(mean * (0.5 + ((file * 37) % 100) / 100));
    const folder = join(tree, `usr/share/part${number}/${file % 97}`);
    if (file < 97) mkdirSync(folder, { recursive: true });
    at = (at + 104_729 * 31) % (corpus.length - size);
    writeFileSync(join(folder, `file${file}`), corpus.subarray(at, at + size));
  }
}

async function sha256(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
  return `sha256:${hasher.digest("hex")}`;
}
