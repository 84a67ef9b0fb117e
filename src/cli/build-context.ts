import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { localMachine, type TarEntry } from "../api/client/index.ts";
import { type IgnoreRules, parseIgnoreFile } from "../spec/index.ts";
import { ignoreFileOf } from "./ignore-file.ts";
import { CommandFailure } from "./usage-error.ts";

export interface BuildContext {
  readonly tar: AsyncIterable<Uint8Array>;
  /** Of the Dockerfile inside the context. */
  readonly dockerfile: string;
}

const defaultDockerfile = "Dockerfile";

/**
 * Packs a build context: a folder without what its .dockerignore leaves out, or `-`: standard input, which is an archive or
 * a Dockerfile. `file` is what `-f` says ("" for the default, `-` for standard input, or a file that may lie outside).
 */
export async function openContext(source: string, file: string): Promise<BuildContext> {
  if (source === "-") {
    if (file === "-")
      throw new CommandFailure("invalid argument: can't use stdin for both build context and dockerfile");
    return await standardInput(file);
  }
  if (/^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(source)) {
    throw new CommandFailure(`build context "${source}": remote contexts are not built yet; fetch it first`);
  }
  const root = findFolder(source) ?? refuseContext(source);
  return folder(root, file);
}

/** The folder that a context names; undefined where it is none. */
export function findFolder(source: string): string | undefined {
  const root = resolve(source);
  const isAddress = source === "-" || /^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(source);
  return !isAddress && statSync(root, { throwIfNoEntry: false })?.isDirectory() ? root : undefined;
}

function refuseContext(source: string): never {
  const root = resolve(source);
  throw new CommandFailure(
    statSync(root, { throwIfNoEntry: false })
      ? `unable to prepare context: context must be a directory: ${root}`
      : `unable to prepare context: path ${JSON.stringify(source)} not found`,
  );
}

/** Where the Dockerfile of a folder is. Throws when there is none. */
export function requireDockerfile(root: string, file: string): string {
  const onDisk = file === "" ? join(root, defaultDockerfile) : resolve(file);
  if (statSync(onDisk, { throwIfNoEntry: false })?.isFile()) return onDisk;
  throw new CommandFailure(
    `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${onDisk}: no such file or directory${otherDockerfile(dirname(onDisk))}`,
  );
}

/** ` (did you mean -f Dockerfile.dev?)` where the folder has one under another name. */
function otherDockerfile(folder: string): string {
  const names = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(folder) : [];
  const other = names.toSorted().find((name) => /^(dockerfile|containerfile)/i.test(name) && !name.endsWith("ignore"));
  return other === undefined ? "" : ` (did you mean -f ${relative(process.cwd(), join(folder, other))}?)`;
}

async function folder(root: string, file: string): Promise<BuildContext> {
  const inside = file === "" ? defaultDockerfile : relative(root, resolve(file));
  const outside = file === "-" || inside.startsWith("../");
  const dockerfile = outside ? `.dockerfile.${crypto.randomUUID().slice(0, 8)}` : inside;
  const onDisk = file === "-" ? undefined : requireDockerfile(root, file);
  const { packEntries, packTree, readTar, tarHeader } = await localMachine();
  const exclude = excluder(root, { dockerfile, onDisk });
  const packed = packTree(root, "/", { name: "", ...(exclude ? { exclude } : {}) });
  if (!outside) return { tar: packed, dockerfile };
  const text = file === "-" ? await readStandardInput() : readFileSync(file);
  const header = tarHeader({ name: dockerfile, type: "file", mode: 0o600, size: text.length });
  return { tar: packEntries(withFile(readTar(packed), header, text)), dockerfile };
}

/** What the ignore file leaves out; itself and the Dockerfile are always sent, since the engine needs them. */
function excluder(
  root: string,
  { dockerfile, onDisk }: { dockerfile: string; onDisk: string | undefined },
): ((path: string) => boolean) | undefined {
  const file = ignoreFileOf(root, onDisk);
  if (file === undefined) return undefined;
  const rules = parseIgnoreFile(readFileSync(file, "utf8"));
  const always = [".dockerignore", dockerfile, `${dockerfile}.dockerignore`];
  return (path) => {
    if (always.some((kept) => kept === path || kept.startsWith(`${path}/`))) return false;
    if (!rules.ignores(path)) return false;
    // A directory that is left out still goes along when an exception takes something below it back in.
    return !(rules.hasExceptions && holdsKept(root, path, rules));
  };
}

function holdsKept(root: string, path: string, rules: IgnoreRules): boolean {
  if (!statSync(join(root, path), { throwIfNoEntry: false })?.isDirectory()) return false;
  return readdirSync(join(root, path), { withFileTypes: true }).some((entry) => {
    const below = `${path}/${entry.name}`;
    return !rules.ignores(below) || (entry.isDirectory() && holdsKept(root, below, rules));
  });
}

async function standardInput(file: string): Promise<BuildContext> {
  const source = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 512) {
    const { done, value } = await source.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const rest: AsyncIterable<Uint8Array> = {
    async *[Symbol.asyncIterator]() {
      yield head;
      for (let next = await source.next(); next.done !== true; next = await source.next()) yield next.value;
    },
  };
  if (isArchive(head)) return { tar: rest, dockerfile: file || defaultDockerfile };
  const chunks: Uint8Array[] = [];
  for await (const chunk of rest) chunks.push(chunk);
  const { packEntries, tarHeader } = await localMachine();
  const text = Buffer.concat(chunks);
  const header = tarHeader({ name: defaultDockerfile, type: "file", mode: 0o600, size: text.length });
  const only = withFile(none(), header, text);
  return { tar: packEntries(only), dockerfile: defaultDockerfile };
}

function isArchive(head: Buffer): boolean {
  const magic = ["1f8b", "28b52ffd", "425a68", "fd377a585a00"];
  return head.toString("latin1", 257, 262) === "ustar" || magic.some((hex) => head.toString("hex").startsWith(hex));
}

export async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

async function* none(): AsyncGenerator<TarEntry> {}

async function* withFile(
  entries: AsyncIterable<TarEntry>,
  header: TarEntry["header"],
  content: Uint8Array,
): AsyncGenerator<TarEntry> {
  yield* entries;
  async function* body(): AsyncGenerator<Uint8Array> {
    yield content;
  }
  yield { header, body: body() };
}
