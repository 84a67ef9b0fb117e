// Large layers are compressed by processes of their own, several at once: the engine's loop stays free, and so does its memory.
import { closeSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { otherBytesExitCode } from "./compress-program.ts";
import { gzipBlock, gzipBlockBytes } from "./gzip-block.ts";
import { GrowingFile } from "./growing-file.ts";
import { ownProgram, yieldToEngine } from "./own-program.ts";
import { processTurn } from "./process-turn.ts";

export interface GzipOptions {
  /** What the plain bytes of a whole file must be: `sha256:…`. */
  readonly digest?: string;
}

/**
 * A plain layer as gzip: one member (RFC 1952) a mebibyte, without times or names, so that the same bytes always give the same. A file
 * must be whole. Throws `internal` for one that is not its digest's.
 */
export async function* gzipLayer(
  plain: AsyncIterable<Uint8Array> | GrowingFile,
  { digest }: GzipOptions = {},
): AsyncGenerator<Uint8Array> {
  if (plain instanceof GrowingFile && plain.sizeBytes >= gzipBlockBytes) {
    using _turn = await processTurn();
    const fd = plain.openDescriptor();
    const child = start(fd, digest);
    closeSync(fd);
    return yield* outputOf(child, { digest });
  }
  const source = plain[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  try {
    while (length < gzipBlockBytes) {
      const next = await source.next();
      if (next.done === true) return yield gzipSmall(Buffer.concat(first), digest);
      first.push(next.value);
      length += next.value.length;
    }
    using _turn = await processTurn();
    const child = start("pipe", undefined);
    yield* outputOf(child, { feeding: feed(child, { first, source }) });
  } finally {
    await source.return?.();
  }
}

function gzipSmall(plain: Buffer<ArrayBuffer>, digest: string | undefined): Uint8Array {
  const found = `sha256:${new Bun.CryptoHasher("sha256").update(plain).digest("hex")}`;
  if (digest !== undefined && found !== digest) throw damaged(digest);
  return gzipBlock(plain);
}

function damaged(digest: string | undefined): EngineError {
  return new EngineError("internal", `The blob "${digest}" is damaged on disk`);
}

type Compressor = Bun.Subprocess<number | "pipe", "pipe", "inherit">;

function start(input: number | "pipe", digest: string | undefined): Compressor {
  const child = Bun.spawn([...ownProgram("compress-layer"), ...(digest === undefined ? [] : [digest])], {
    stdio: [input, "pipe", "inherit"],
    cwd: "/",
  });
  yieldToEngine(child.pid);
  return child;
}

/** Gives the process what it takes, as fast as it takes it; ends it where the source fails. */
async function feed(
  child: Compressor,
  { first, source }: { first: Uint8Array[]; source: AsyncIterator<Uint8Array> },
): Promise<void> {
  const input = child.stdin as Bun.FileSink;
  try {
    for (let chunk = first.shift(); chunk;) {
      input.write(chunk);
      await input.flush();
      chunk = first.shift();
      if (chunk) continue;
      const next = await source.next();
      if (next.done !== true) chunk = next.value;
    }
    await input.end();
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

async function* outputOf(
  child: Compressor,
  { digest, feeding = Promise.resolve() }: { digest?: string | undefined; feeding?: Promise<void> },
): AsyncGenerator<Uint8Array> {
  // Told of below, after what the process made of it.
  feeding.catch(() => {});
  try {
    for await (const chunk of child.stdout) yield chunk;
    const code = await child.exited;
    // A process that was ended cannot be written to: what ended it comes first.
    if (code === otherBytesExitCode) throw damaged(digest);
    await feeding;
    if (code !== 0) throw new EngineError("internal", "The process that compresses a layer ended before its time");
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}
