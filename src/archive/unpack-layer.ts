// Large layers are unpacked by a process of their own, several at once: the engine's loop stays free, and so does its memory.
import { cpus, setPriority } from "node:os";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { EngineError, type ErrorCode } from "../common/index.ts";
import { applyLayer, type AppliedLayer, type ApplyOptions } from "./apply-layer.ts";
import { boundedPlain } from "./bounded-plain.ts";
import { hashingStream } from "./hashing.ts";
import { LayerArchive } from "./layer-archive.ts";
import type { UnpackOrder, UnpackReport } from "./unpack-program.ts";

/** A smaller archive is unpacked sooner than a process starts. */
const ownProcessBytes = 1024 * 1024;
const maxProcesses = Math.max(2, cpus().length);
const niceness = 5;
const maxReportBytes = 256 * 1024 * 1024;

export interface UnpackedLayer extends AppliedLayer {
  /** sha256 of the plain archive. */
  readonly diffId: string;
  /** Length of the plain archive. */
  readonly archiveBytes: number;
}

/** As `applyLayer`, and says what the archive was. Takes a plain stream, or a `LayerArchive`. */
export async function unpackLayer(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  options: Pick<ApplyOptions, "stacked"> = {},
): Promise<UnpackedLayer> {
  if (!(tar instanceof LayerArchive)) return unpackHere(tar, directory, options);
  const { stacked = false } = options;
  const unpacked = await (tar.file.sizeBytes >= ownProcessBytes
    ? turn(() => unpackElsewhere(tar, { directory, stacked }))
    : unpackHere(tar, directory, options));
  tar.plainBytes = unpacked.archiveBytes;
  return unpacked;
}

/** As `unpackLayer`, in this process. */
export async function unpackHere(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  options: Pick<ApplyOptions, "stacked"> = {},
): Promise<UnpackedLayer> {
  const plain = tar instanceof LayerArchive ? boundedPlain(tar, { compressedBytes: tar.file.sizeBytes }) : tar;
  const hashed = hashingStream(plain);
  const applied = await applyLayer(hashed.stream, directory, options);
  return { ...applied, diffId: hashed.digest(), archiveBytes: hashed.size() };
}

let running = 0;
const waiting: (() => void)[] = [];

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running < maxProcesses) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

async function unpackElsewhere(
  { file, signal }: LayerArchive,
  { directory, stacked }: { directory: string; stacked: boolean },
): Promise<UnpackedLayer> {
  signal?.throwIfAborted();
  file.check();
  const fd = file.openDescriptor();
  // The compiled executable calls itself, also when another has taken its place meanwhile.
  const compiled = import.meta.dir.startsWith("/$bunfs/");
  const program = compiled
    ? ["/proc/self/exe", "unpack-layer"]
    : [process.execPath, join(import.meta.dir, "..", "main.ts"), "unpack-layer"];
  let child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  try {
    child = Bun.spawn(program, { stdio: ["pipe", "pipe", "inherit", fd], cwd: "/" }) as typeof child;
    // The engine answers first.
    setPriority(child.pid, niceness);
  } finally {
    closeSync(fd);
  }
  const order: UnpackOrder = { directory, stacked, sizeBytes: file.sizeBytes };
  child.stdin.write(`${JSON.stringify(order)}\n`);
  let failure: { error: unknown } | undefined;
  const tell = (): void => {
    try {
      signal?.throwIfAborted();
      file.check();
      child.stdin.write(`${file.writtenBytes}\n`);
      // One that has ended already says so by its report.
      Promise.resolve(child.stdin.flush()).catch(() => {});
    } catch (error) {
      failure ??= { error };
      child.kill("SIGKILL");
    }
  };
  const stop = file.watch(tell);
  signal?.addEventListener("abort", tell, { once: true });
  tell();
  try {
    const [said, status] = await Promise.all([boundedReport(child), child.exited]);
    if (failure) throw failure.error;
    signal?.throwIfAborted();
    return readReport(said, status);
  } finally {
    stop();
    signal?.removeEventListener("abort", tell);
    child.kill("SIGKILL");
    await child.exited;
  }
}

async function boundedReport(child: Bun.Subprocess<"pipe", "pipe", "inherit">): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of child.stdout) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxReportBytes) {
      child.kill("SIGKILL");
      throw new EngineError("resourceExhausted", `An archive's report has more than ${maxReportBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function readReport(said: string, status: number): UnpackedLayer {
  if (said === "") throw new EngineError("internal", `The process that unpacks a layer ended with ${status}`);
  const report = JSON.parse(said) as UnpackReport;
  if ("unpacked" in report) return report.unpacked;
  const { code, message, data } = report.error;
  throw new EngineError(code as ErrorCode, message, { data });
}
