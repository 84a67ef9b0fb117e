// Archives made by hand, byte for byte, with nothing of the code under test: also those that no tar(1) would write.

export interface RawEntry {
  readonly name: string;
  readonly flag?: string;
  readonly body?: string | Uint8Array;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  /** Stated instead of the body's length. */
  readonly size?: number;
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
}

export function rawTar(...entries: readonly RawEntry[]): Uint8Array {
  return Buffer.concat([...entries.map(rawEntry), Buffer.alloc(1024)]);
}

export function rawEntry(entry: RawEntry): Buffer {
  const body = Buffer.from(entry.body ?? "");
  const block = Buffer.alloc(512);
  const put = (at: number, text: string): number => block.write(text, at, "latin1");
  block.write(entry.name, 0, "utf8");
  put(100, `${(entry.mode ?? 0o644).toString(8).padStart(7, "0")}\0`);
  put(108, `${(entry.uid ?? 0).toString(8).padStart(7, "0")}\0`);
  put(116, `${(entry.gid ?? 0).toString(8).padStart(7, "0")}\0`);
  put(124, `${(entry.size ?? body.length).toString(8).padStart(11, "0")}\0`);
  put(136, `${(entry.mtime ?? 1_000_000_000).toString(8).padStart(11, "0")}\0`);
  put(156, entry.flag ?? "0");
  block.write(entry.link ?? "", 157, "utf8");
  put(257, "ustar\u000000");
  put(329, `${(entry.device?.[0] ?? 0).toString(8).padStart(7, "0")}\0`);
  put(337, `${(entry.device?.[1] ?? 0).toString(8).padStart(7, "0")}\0`);
  seal(block);
  const pax = entry.pax ? rawPax(entry.pax) : Buffer.alloc(0);
  return Buffer.concat([pax, block, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

/** Writes the checksum that the block's other bytes ask for. */
export function seal(block: Buffer): void {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

function rawPax(records: Readonly<Record<string, string | Uint8Array>>): Buffer {
  const body = Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from("\n")]);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length++;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
  return rawEntry({ name: "pax", flag: "x", body });
}

/** The bytes as a stream of chunks of an odd size, so that every boundary falls into the middle of something. */
export async function* inChunks(bytes: Uint8Array, size = 777): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Runs a shell script in a folder; its output, or an error with what it said. */
export function shell(folder: string, script: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["bash", "-ec", script], { cwd: folder });
  if (exitCode !== 0) throw new Error(`${script}\nexited with ${exitCode}: ${stderr}`);
  return stdout.toString();
}

/** Everything find(1) and getfattr(1) tell of a tree, a line a file; times to the nanosecond. */
export function describeTree(folder: string): string {
  const files = shell(
    folder,
    String.raw`find . -printf '%p|%y|%m|%U:%G|%s|%T@|%l|%n\n' | sed -E 's/^([^|]*\|d\|[^|]*\|[^|]*\|)[0-9]+/\1-/' | LC_ALL=C sort`,
  );
  const devices = shell(folder, String.raw`find . -type c -o -type b | LC_ALL=C sort | xargs -r stat -c '%n %t:%T'`);
  const sums = shell(folder, "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum");
  const attributes = shell(folder, "getfattr -R -P -h -d -m - -e hex . 2>/dev/null | LC_ALL=C sort");
  return [files, devices, sums, attributes].join("--\n");
}
