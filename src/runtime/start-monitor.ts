import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { closeDescriptor, socketPair } from "../kernel/index.ts";
import type { Plan, PlanSettings } from "../spec/index.ts";
import { encodePlan } from "../spec/index.ts";
import type { StartedProcess } from "./exec-session.ts";
import { type Frame, type OpReport, decodeFields, decodeReports, frameType } from "./frames.ts";
import { memoryFile, sealedHelper } from "./helper-image.ts";
import { MonitorConnection } from "./monitor-connection.ts";
import { failureOf } from "./start-failure.ts";

/** The number at which a monitor finds the first descriptor that it is to hold. */
const firstHeldDescriptor = 5;
const shownLogBytes = 2048;

export interface MonitorOptions {
  readonly helperPath: string;
  /** The container's run directory: the monitor's own log goes there. */
  readonly runDirectory: string;
  /** Settings `relay.N` name descriptors of this process; the monitor's numbers are put in their place. */
  readonly plan: Plan;
  /** Held by the monitor for its life; yours to close as soon as this has returned or thrown. */
  readonly descriptors: readonly number[];
}

/** A container that is made and waits at `sync commit`. Either `go` or `abort`, once. */
export interface MonitorStart {
  readonly ready: StartedProcess;
  /** What the ops so far have done; complete after `go`. */
  reports(): readonly OpReport[];
  /** Gives leave; resolves once exec(2) has succeeded. Throws the plan's failure, after which everything is undone. */
  go(): Promise<StartedProcess>;
  /** Resolves once the monitor has undone everything and is gone. After a failure there is nothing left to do. */
  abort(): Promise<void>;
  readonly connection: MonitorConnection;
}

/**
 * Spawns a container's monitor, which runs the plan up to `sync commit`. Throws a plan's failure (see `planFailure`) when an op
 * fails: then everything is undone. The monitor survives this process; `connection` is subscribed to its exit.
 */
export async function startMonitor(options: MonitorOptions): Promise<MonitorStart> {
  const run = new StartingMonitor(options);
  await run.spawn();
  await run.untilReady();
  return run;
}

class StartingMonitor implements MonitorStart {
  readonly #ready = Promise.withResolvers<StartedProcess>();
  readonly #started = Promise.withResolvers<StartedProcess>();
  readonly #reports: OpReport[] = [];
  readonly #logPath: string;
  #connection: MonitorConnection | undefined;
  #readyProcess: StartedProcess | undefined;
  #over = false;

  constructor(private readonly options: MonitorOptions) {
    this.#logPath = join(options.runDirectory, "monitor.log");
    // Each is awaited by one caller; a failure before that must not count as unhandled.
    this.#ready.promise.catch(() => undefined);
    this.#started.promise.catch(() => undefined);
  }

  get ready(): StartedProcess {
    if (!this.#readyProcess) throw new Error("The container is not ready");
    return this.#readyProcess;
  }

  get connection(): MonitorConnection {
    if (!this.#connection) throw new Error("The monitor was not spawned");
    return this.#connection;
  }

  reports(): readonly OpReport[] {
    return this.#reports;
  }

  async spawn(): Promise<void> {
    const { helperPath, plan, descriptors } = this.options;
    const helper = sealedHelper(helperPath);
    const settings = withHeldDescriptors(plan.settings, descriptors);
    const [ours, theirs] = socketPair("stream");
    const log = openSync(this.#logPath, "a", 0o600);
    const planFile = memoryFile("plan", encodePlan({ settings, ops: plan.ops }));
    try {
      const child = Bun.spawn([`/proc/${process.pid}/fd/${helper}`, "monitor"], {
        argv0: "vitrine-helper",
        stdio: ["ignore", "ignore", log, planFile, theirs, ...descriptors],
        env: {},
        cwd: "/",
      });
      // It forks and ends at once; the monitor itself is nobody's child.
      child.unref();
    } catch (cause) {
      closeDescriptor(ours);
      throw new EngineError("internal", `Cannot start the helper "${helperPath}": ${(cause as Error).message}`, {
        cause,
      });
    } finally {
      closeDescriptor(theirs);
      closeDescriptor(planFile);
      closeSync(log);
    }
    this.#connection = await MonitorConnection.adopt(ours, {
      socketPath: plan.settings["socket"],
      frames: (frame) => this.#take(frame),
      closed: () => this.#finish(),
    });
  }

  async untilReady(): Promise<void> {
    try {
      this.#readyProcess = await this.#ready.promise;
    } catch (error) {
      this.#over = true;
      this.connection.close();
      throw error;
    }
  }

  async go(): Promise<StartedProcess> {
    await this.connection.go();
    try {
      return await this.#started.promise;
    } catch (error) {
      this.#over = true;
      this.connection.close();
      throw error;
    }
  }

  async abort(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    const watcher = await this.#watcher();
    this.connection.endOutput();
    await watcher?.exited;
    this.connection.close();
  }

  /** A second connection, which ends when the monitor does: that is how its undoing is waited for. */
  async #watcher(): Promise<MonitorConnection | undefined> {
    const socketPath = this.options.plan.settings["socket"];
    if (!socketPath) return undefined;
    try {
      return await MonitorConnection.connect(socketPath);
    } catch {
      // It is gone already.
      return undefined;
    }
  }

  #take(frame: Frame): void {
    const fields = () => decodeFields(frame.payload);
    switch (frame.type) {
      case frameType.report:
        this.#reports.push(...decodeReports(frame.payload));
        return;
      case frameType.ready:
        return this.#ready.resolve(processOf(fields()));
      case frameType.started:
        return this.#started.resolve(processOf(fields()));
      case frameType.failed:
        return this.#fail(failureOf(this.options.plan, { fields: fields(), reports: this.#reports }));
      default:
    }
  }

  #fail(error: EngineError): void {
    this.#ready.reject(error);
    this.#started.reject(error);
  }

  #finish(): void {
    const words = lastWords(this.#logPath);
    const because = words === "" ? "" : `; its last words: ${words}`;
    this.#fail(new EngineError("internal", `The container's monitor ended before the container began${because}`));
  }
}

function processOf(fields: readonly string[]): StartedProcess {
  return { pid: Number(fields[0]), startTime: Number(fields[1]) };
}

function withHeldDescriptors(settings: PlanSettings, descriptors: readonly number[]): PlanSettings {
  const entries = Object.entries(settings).map(([key, value]): [string, string] => {
    if (!key.startsWith("relay.")) return [key, value];
    const [descriptor = "", ...rest] = value.split(" ");
    const position = descriptors.indexOf(Number(descriptor));
    if (position < 0) {
      throw new EngineError("internal", `Setting ${key} names descriptor ${descriptor}, which is not handed over`);
    }
    return [key, [firstHeldDescriptor + position, ...rest].join(" ")];
  });
  return Object.fromEntries(entries);
}

function lastWords(path: string): string {
  try {
    return readFileSync(path, "utf8").slice(-shownLogBytes).trim().replaceAll("\n", " | ");
  } catch {
    return "";
  }
}
