import { EngineError } from "../common/index.ts";
import { closeDescriptor, errnoText } from "../kernel/index.ts";
import type { Plan, PlanSettings } from "../spec/index.ts";
import { encodePlan } from "../spec/index.ts";
import { type ExitRecord, decodeExit } from "./exit-record.ts";
import { FrameChannel } from "./frame-channel.ts";
import { type Frame, type OpReport, decodeFields, decodeReports, encodeFields, frameType } from "./frames.ts";
import { memoryFile, sealedHelper } from "./helper-image.ts";
import { type OutputEvent, OutputQueue } from "./output-queue.ts";
import { failureOf } from "./start-failure.ts";

export interface StartedProcess {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: number;
}

/** One more process in a running container. Dispose it when its client is gone: its stdin then ends; the process lives on. */
export interface ExecSession extends Disposable {
  /** Resolves once exec(2) has succeeded; rejects with a plan's failure. */
  readonly started: Promise<StartedProcess>;
  /** Undefined when the monitor went away without a word. */
  readonly exited: Promise<ExitRecord | undefined>;
  /** Never lagging: a session has no log, so a slow reader makes it wait. */
  readonly output: AsyncIterable<OutputEvent>;
  reports(): readonly OpReport[];
  write(data: Uint8Array): Promise<void>;
  closeInput(): void;
  resize(size: { rows: number; columns: number }): Promise<void>;
  close(): void;
}

const stdinFrameBytes = 32 * 1024;

/** Sends a monitor the present helper and the plan of an exec. Throws unavailable when the monitor does not answer. */
export async function startExecSession(options: {
  socketPath: string;
  helperPath: string;
  plan: Plan;
  settings: PlanSettings;
}): Promise<ExecSession> {
  const session = new MonitorSession(options.plan);
  const planFile = memoryFile("plan", encodePlan(options.plan));
  try {
    await session.open(options.socketPath, {
      payload: encodeFields(Object.entries(options.settings).flat()),
      descriptors: [sealedHelper(options.helperPath), planFile],
    });
  } finally {
    closeDescriptor(planFile);
  }
  return session;
}

class MonitorSession implements ExecSession {
  readonly output: OutputQueue;
  readonly started: Promise<StartedProcess>;
  readonly exited: Promise<ExitRecord | undefined>;
  readonly #start = Promise.withResolvers<StartedProcess>();
  readonly #exit = Promise.withResolvers<ExitRecord | undefined>();
  readonly #replies: PromiseWithResolvers<number>[] = [];
  readonly #reports: OpReport[] = [];
  #channel: FrameChannel | undefined;

  constructor(private readonly plan: Plan) {
    this.output = new OutputQueue({ pause: () => this.#channel?.pause(), resume: () => this.#channel?.resume() });
    this.started = this.#start.promise;
    this.exited = this.#exit.promise;
    this.started.catch(() => undefined);
  }

  async open(socketPath: string, request: { payload: Uint8Array; descriptors: readonly number[] }): Promise<void> {
    this.#channel = await FrameChannel.connect(socketPath, {
      frame: (frame) => this.#take(frame),
      closed: () => this.#finish(),
    });
    this.#channel.sendWithDescriptors(frameType.exec, request);
  }

  reports(): readonly OpReport[] {
    return this.#reports;
  }

  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += stdinFrameBytes) {
      await this.#channel?.send(frameType.stdin, data.subarray(at, at + stdinFrameBytes));
    }
  }

  closeInput(): void {
    void this.#channel?.send(frameType.stdin);
  }

  async resize(size: { rows: number; columns: number }): Promise<void> {
    if (!this.#channel || this.#channel.isClosed) throw gone();
    const reply = Promise.withResolvers<number>();
    this.#replies.push(reply);
    void this.#channel.send(frameType.resize, encodeFields([String(size.rows), String(size.columns)]));
    const errno = await reply.promise;
    if (errno !== 0) throw new EngineError("internal", `Cannot resize the terminal: ${errnoText(errno)}`);
  }

  close(): void {
    this.#channel?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case frameType.stdout:
        return this.output.push({ kind: "data", stream: "stdout", data: frame.payload });
      case frameType.stderr:
        return this.output.push({ kind: "data", stream: "stderr", data: frame.payload });
      case frameType.report:
        this.#reports.push(...decodeReports(frame.payload));
        return;
      case frameType.started: {
        const [pid, startTime] = decodeFields(frame.payload);
        return this.#start.resolve({ pid: Number(pid), startTime: Number(startTime) });
      }
      case frameType.failed:
        return this.#start.reject(
          failureOf(this.plan, { fields: decodeFields(frame.payload), reports: this.#reports }),
        );
      case frameType.exited:
        this.#exit.resolve(decodeExit(decodeFields(frame.payload)));
        return;
      case frameType.done:
        return this.#takeReply(Number(decodeFields(frame.payload)[0]));
      default:
    }
  }

  /** The reply to a resize; before any, the monitor's refusal of the session itself. */
  #takeReply(errno: number): void {
    const reply = this.#replies.shift();
    if (reply) return reply.resolve(errno);
    if (errno !== 0) {
      this.#start.reject(
        new EngineError("conflict", `The container's monitor refused the exec: ${errnoText(errno)}`, {
          data: { errno },
        }),
      );
    }
  }

  #finish(): void {
    this.#start.reject(gone());
    this.#exit.resolve(undefined);
    for (const reply of this.#replies.splice(0)) reply.reject(gone());
    this.output.end();
  }
}

function gone(): EngineError {
  return new EngineError("unavailable", "The container's monitor has gone");
}
