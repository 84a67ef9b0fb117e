import { localMachine, type TarEntry } from "../api/client/index.ts";

/** Unpacks an archive below `into`, its top entry renamed, owned by whoever runs this. Gives the archive's size. */
export async function extractRenamed(
  source: AsyncIterable<Uint8Array>,
  options: { into: string; from: string; to: string },
): Promise<number> {
  const { extractTree, packEntries, readTar } = await localMachine();
  const { tar, sizeBytes } = counted(source);
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const named = options.from === options.to ? tar : packEntries(renamed(readTar(tar), options));
  await extractTree(named, "/", options.into, { chown: owner, noOverwriteDirNonDir: true });
  return sizeBytes();
}

/** A file or directory of this machine as an archive whose top entry has that name. */
export async function packLocal(
  absolutePath: string,
  options: { name: string; followLink: boolean },
): Promise<{ tar: AsyncIterable<Uint8Array>; sizeBytes(): number }> {
  const { packTree } = await localMachine();
  return counted(packTree("/", absolutePath, options));
}

async function* renamed(
  entries: AsyncIterable<TarEntry>,
  names: { from: string; to: string },
): AsyncGenerator<TarEntry> {
  const rename = (name: string): string => {
    const plain = name.replace(/^\.\//, names.from === "." ? "./" : "");
    if (plain.replace(/\/$/, "") === names.from) return names.to;
    return plain.startsWith(`${names.from}/`) ? `${names.to}/${plain.slice(names.from.length + 1)}` : name;
  };
  for await (const { header, body } of entries) {
    const linkName = header.type === "hardlink" ? rename(header.linkName) : header.linkName;
    yield { header: { ...header, name: rename(header.name), linkName }, body };
  }
}

function counted(source: AsyncIterable<Uint8Array>): { tar: AsyncIterable<Uint8Array>; sizeBytes(): number } {
  let size = 0;
  async function* count(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      size += chunk.length;
      yield chunk;
    }
  }
  return { tar: count(), sizeBytes: () => size };
}
