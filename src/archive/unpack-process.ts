import { closeSync } from "node:fs";
import { EngineError, type ErrorCode } from "../common/index.ts";
import type { LayerArchive } from "./layer-archive.ts";
import { ownProgram, yieldToEngine } from "./own-program.ts";
import type { UnpackedLayer } from "./unpack-layer.ts";
import type { UnpackOrder, UnpackReport } from "./unpack-program.ts";

const maxReportBytes = 256 * 1024 * 1024;
/** The next layer of the same image finds it warm. */
const idleMs = 300;

/**
 * A process that unpacks one layer after another (`vitrine unpack-layer`), and ends when it has had nothing to do for a moment.
 *
 *     const process = UnpackProcess.take();
 *     const unpacked = await process.unpack(archive, { directory, stacked });    // throws: the process is gone
 *     process.release();
 */
export class UnpackProcess {
  static readonly #idle: UnpackProcess[] = [];
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #said: AsyncIterator<Uint8Array>;
  #left: Uint8Array = new Uint8Array();
  #timer: ReturnType<typeof setTimeout> | undefined;

  private constructor() {
    this.#child = Bun.spawn(ownProgram("unpack-layer"), { stdio: ["pipe", "pipe", "inherit"], cwd: "/" });
    yieldToEngine(this.#child.pid);
    this.#said = this.#child.stdout[Symbol.asyncIterator]();
    void this.#child.exited.then(() => this.#forget());
  }

  static take(): UnpackProcess {
    const known = UnpackProcess.#idle.pop();
    if (!known) return new UnpackProcess();
    clearTimeout(known.#timer);
    return known;
  }

  release(): void {
    this.#timer = setTimeout(() => this.#end(), idleMs);
    this.#timer.unref();
    UnpackProcess.#idle.push(this);
  }

  async unpack(
    { file, signal }: LayerArchive,
    { directory, stacked }: { directory: string; stacked: boolean },
  ): Promise<UnpackedLayer> {
    signal?.throwIfAborted();
    file.check();
    const fd = file.openDescriptor();
    const order: UnpackOrder = {
      archive: `/proc/${process.pid}/fd/${fd}`,
      directory,
      stacked,
      sizeBytes: file.sizeBytes,
    };
    let failure: { error: unknown } | undefined;
    const tell = (): void => {
      try {
        signal?.throwIfAborted();
        file.check();
        this.#send(String(file.writtenBytes));
      } catch (error) {
        failure ??= { error };
        this.#child.kill("SIGKILL");
      }
    };
    this.#send(JSON.stringify(order));
    const stop = file.watch(tell);
    signal?.addEventListener("abort", tell, { once: true });
    tell();
    try {
      const said = await this.#line();
      if (failure) throw failure.error;
      signal?.throwIfAborted();
      if (said === "") throw new EngineError("internal", "The process that unpacks a layer ended before its time");
      const report = JSON.parse(said) as UnpackReport;
      if ("unpacked" in report) return report.unpacked;
      const { code, message, data } = report.error;
      throw new EngineError(code as ErrorCode, message, { data });
    } catch (error) {
      this.#child.kill("SIGKILL");
      await this.#child.exited;
      throw error;
    } finally {
      stop();
      signal?.removeEventListener("abort", tell);
      closeSync(fd);
    }
  }

  #send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
    // One that has ended already says so by its report.
    Promise.resolve(this.#child.stdin.flush()).catch(() => {});
  }

  /** What it says next; nothing when it has ended. */
  async #line(): Promise<string> {
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    for (let chunk = this.#left; ;) {
      const end = chunk.indexOf(10);
      parts.push(end < 0 ? chunk : chunk.subarray(0, end));
      sizeBytes += chunk.length;
      if (end >= 0) {
        this.#left = chunk.subarray(end + 1);
        return Buffer.concat(parts).toString("utf8");
      }
      if (sizeBytes > maxReportBytes) {
        throw new EngineError("resourceExhausted", `An archive's report has more than ${maxReportBytes} bytes`);
      }
      const next = await this.#said.next();
      if (next.done === true) return "";
      chunk = next.value;
    }
  }

  #end(): void {
    this.#forget();
    Promise.resolve(this.#child.stdin.end()).catch(() => {});
  }

  #forget(): void {
    const at = UnpackProcess.#idle.indexOf(this);
    if (at >= 0) UnpackProcess.#idle.splice(at, 1);
  }
}
