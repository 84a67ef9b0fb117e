import { formatGoDuration, toEngineError } from "../common/index.ts";
import type { ContainerConfig, HealthcheckResult } from "../spec/index.ts";
import type { StdioSession } from "./contract.ts";
import type { Execs } from "./exec-service.ts";

/** What is kept of a probe's output; what was cut is shown by three dots, as in Docker. */
const maxOutputBytes = 4096;
const defaultShell = ["/bin/sh", "-c"];
const failedExitCode = -1;

/** The command of a container's probe; undefined when it has none. The shell form runs in the image's SHELL. */
export function probeCommand(config: ContainerConfig): string[] | undefined {
  const [kind, ...words] = config.Healthcheck?.Test ?? [];
  if (kind === "CMD") return words;
  if (kind === "CMD-SHELL") return [...(config.Shell?.length ? config.Shell : defaultShell), ...words];
  return undefined;
}

export interface ProbeRequest {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly timeoutNs: number;
  /** The container is going: the probe's process goes with it, and nobody waits for its result. */
  readonly signal: AbortSignal;
}

/** Runs a probe as an exec like any other. Never throws: what goes wrong is a result of exit code -1. */
export async function runProbe(execs: Execs, request: ProbeRequest): Promise<HealthcheckResult> {
  const Start = new Date().toISOString();
  const result = await probe(execs, request).catch((error: unknown) => ({
    ExitCode: failedExitCode,
    Output: toEngineError(error).message,
  }));
  return { Start, End: new Date().toISOString(), ...result };
}

async function probe(
  execs: Execs,
  { containerId, command, timeoutNs, signal }: ProbeRequest,
): Promise<{ ExitCode: number; Output: string }> {
  const id = await execs.create(containerId, { Cmd: [...command], AttachStdout: true, AttachStderr: true });
  try {
    using session = await execs.start(id, { detach: false });
    const output = new BoundedOutput();
    const taken = session ? output.take(session) : Promise.resolve();
    // An end is told when all output has been sent: what is left to do is to read it.
    const exitCode = await within(
      execs.ended(id).then(async (code) => (await taken, code)),
      { timeoutNs, signal },
    );
    if (exitCode !== undefined) return { ExitCode: exitCode, Output: output.text };
    execs.kill(id);
    const words = `Health check exceeded timeout (${formatGoDuration(timeoutNs)})`;
    return { ExitCode: failedExitCode, Output: output.text === "" ? words : `${words}: ${output.text}` };
  } finally {
    execs.forget(id);
  }
}

/** Undefined when time is up or the container goes. */
async function within(
  result: Promise<number>,
  { timeoutNs, signal }: { timeoutNs: number; signal: AbortSignal },
): Promise<number | undefined> {
  const cut = Promise.withResolvers<undefined>();
  const onAbort = (): void => cut.resolve(undefined);
  const timer = setTimeout(onAbort, timerMs(timeoutNs));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([result, cut.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** A timer's delay: longer ones than 24 days would fire at once. */
export function timerMs(durationNs: number): number {
  return Math.min(durationNs / 1e6, 2 ** 31 - 1);
}

class BoundedOutput {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #isCut = false;

  /** Reads to the end, so that a talkative probe is never made to wait. */
  async take(session: StdioSession): Promise<void> {
    for await (const { data } of session.output) {
      const kept = data.subarray(0, maxOutputBytes - this.#bytes);
      this.#isCut ||= kept.length < data.length;
      this.#bytes += kept.length;
      if (kept.length > 0) this.#chunks.push(kept.slice());
    }
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString() + (this.#isCut ? "..." : "");
  }
}
