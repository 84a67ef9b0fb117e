import type { Executor, ExecutorStep } from "../build/index.ts";
import { toEngineError } from "../common/index.ts";
import type { ImageRecord } from "../image/index.ts";
import { completeHostConfig } from "./container-request.ts";
import { newRunState, type ContainerRecord } from "./container-record.ts";
import { discardContainerDirectory, findImage } from "./container-creation.ts";
import { giveBack } from "./container-exit.ts";
import type { Core } from "./core.ts";
import { launch } from "./launch.ts";
import { openMonitorSession } from "./monitor-session.ts";

/** Runs a build's commands: the same plan as a container's on the step's snapshot, without a record of its own. */
export class StepExecutor implements Executor {
  constructor(private readonly core: Core) {}

  resolveBase(reference: string): Promise<ImageRecord> {
    return findImage(this.core, reference);
  }

  async run(step: ExecutorStep, onOutput: Parameters<Executor["run"]>[1]): Promise<{ exitCode: number }> {
    const { core } = this;
    const record = stepRecord(core, step);
    try {
      const { start } = await launch(core, record);
      try {
        using session = await openMonitorSession(core.paths.monitorSocket(record.id), {
          stdin: false,
          stdout: true,
          stderr: true,
          tty: false,
        });
        await start.go();
        const stop = (): void => void start.connection.signal(killSignal).catch(() => {});
        step.signal?.addEventListener("abort", stop, { once: true });
        if (step.signal?.aborted) stop();
        for await (const chunk of session.output) await onOutput(chunk);
        step.signal?.removeEventListener("abort", stop);
        const exit = await start.connection.exited;
        await start.connection.closed;
        return { exitCode: exit?.exitCode ?? 137 };
      } catch (error) {
        await start.abort();
        throw error;
      } finally {
        await giveBack(core, record);
      }
    } finally {
      await discardContainerDirectory(core, record.id).catch((error: unknown) =>
        core.options.log("warning", toEngineError(error).message),
      );
    }
  }
}

const killSignal = 9;

function stepRecord(core: Core, step: ExecutorStep): ContainerRecord {
  const [path = "", ...args] = step.command;
  const cgroupnsDefault = core.cgroups.support.version === "v2" ? "private" : "host";
  return {
    id: step.id,
    name: step.id.slice(0, 12),
    createdAt: new Date().toISOString(),
    imageId: "",
    config: { ...step.config, Hostname: step.id.slice(0, 12) },
    // Without a log the output waits for its reader: nothing of it can be lost, and no file is left behind.
    host: completeHostConfig({ NetworkMode: step.networkMode, LogConfig: { Type: "none" } }, { cgroupnsDefault }),
    endpoints: {},
    path,
    args,
    mounts: [],
    state: newRunState(),
    network: undefined,
    restartCount: 0,
  };
}
