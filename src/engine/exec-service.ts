import { EngineError, newId, toEngineError } from "../common/index.ts";
import { bootId, signalProcess } from "../kernel/index.ts";
import { compileExecPlan, type ExecSession } from "../runtime/index.ts";
import type { ExecCreateRequest, ExecInspect, Plan, ProcessSpec } from "../spec/index.ts";
import { containerSpec, environmentOf } from "./container-spec.ts";
import type { ExecService, OutputChunk, StdioSession } from "./contract.ts";
import { cgroupPathOf, publishContainerEvent, type Core } from "./core.ts";
import { monitorOf } from "./foreign-monitor.ts";
import type { LiveContainer } from "./live-container.ts";
import { resolveProcessUser } from "./process-user.ts";

/** Finished sessions that can still be inspected; as in dockerd they go with their container, and the oldest first. */
const keptSessions = 1000;
const killSignal = 9;

interface ExecRecord {
  readonly id: string;
  readonly container: LiveContainer;
  readonly request: ExecCreateRequest;
  state: "created" | "running" | "ended";
  session: ExecSession | undefined;
  pid: number;
  startTime: number;
  exitCode: number | null;
  readonly ended: PromiseWithResolvers<number>;
}

/** Processes that join a running container. They live with their monitor; what is here is what clients ask about. */
export class Execs implements ExecService {
  readonly #records = new Map<string, ExecRecord>();

  constructor(private readonly core: Core) {}

  async create(idOrName: string, request: ExecCreateRequest): Promise<string> {
    const container = this.core.containers.get(idOrName);
    requireRunning(container);
    if (!request.Cmd || request.Cmd.length === 0) throw new EngineError("invalidArgument", "No exec command specified");
    if (request.WorkingDir && !request.WorkingDir.startsWith("/")) {
      throw new EngineError(
        "invalidArgument",
        `the working directory '${request.WorkingDir}' is invalid, it needs to be an absolute path`,
      );
    }
    const id = newId();
    this.#records.set(id, {
      id,
      container,
      request,
      state: "created",
      session: undefined,
      pid: 0,
      startTime: 0,
      exitCode: null,
      ended: Promise.withResolvers(),
    });
    container.execIds.add(id);
    this.#forgetOld();
    publishContainerEvent(this.core, container.record, {
      action: `exec_create: ${request.Cmd.join(" ")}`,
      attributes: { execID: id },
    });
    return id;
  }

  async start(
    id: string,
    options: { detach: boolean; consoleSize?: readonly [number, number] },
  ): Promise<StdioSession | undefined> {
    const exec = this.#get(id);
    requireRunning(exec.container);
    if (exec.state !== "created") throw new EngineError("conflict", `Error: Exec command ${id} has already run`);
    exec.state = "running";
    const size = options.consoleSize ?? exec.request.ConsoleSize ?? undefined;
    try {
      const session = await this.#open(exec, { detach: options.detach, consoleSize: size });
      publishContainerEvent(this.core, exec.container.record, {
        action: `exec_start: ${exec.request.Cmd.join(" ")}`,
        attributes: { execID: id },
      });
      return session;
    } catch (thrown) {
      const error = toEngineError(thrown);
      exec.state = "ended";
      // As in dockerd: 127 for a program that is not there, 126 for everything else that keeps it from running.
      exec.exitCode = error.data.exitCode === 127 ? 127 : 126;
      throw error;
    }
  }

  async #open(
    exec: ExecRecord,
    options: { detach: boolean; consoleSize: readonly [number, number] | undefined },
  ): Promise<StdioSession | undefined> {
    const { container, request } = exec;
    const monitor = monitorOf(container);
    const { plan, settings } = this.#plan(exec, options);
    const session = await monitor.exec({ helperPath: this.core.options.helperPath, plan, settings });
    const { pid, startTime } = await session.started;
    exec.session = session;
    exec.pid = pid;
    exec.startTime = startTime;
    void session.exited.then((exit) => this.#ended(exec, exit?.exitCode ?? 137));
    if (request.Tty && options.consoleSize) {
      const [rows, columns] = options.consoleSize;
      if (rows > 0) await session.resize({ rows, columns }).catch(() => {});
    }
    if (!options.detach) return stdioOf(session, request);
    void drain(session);
    return undefined;
  }

  #plan(
    exec: ExecRecord,
    options: { detach: boolean; consoleSize: readonly [number, number] | undefined },
  ): { plan: Plan; settings: Record<string, string> } {
    const { core } = this;
    const { request } = exec;
    const { record } = exec.container;
    const process = this.#process(exec, options.consoleSize);
    const spec = containerSpec(core, record, {
      namespace: record.host.NetworkMode === "host" ? { kind: "host" } : undefined,
      // Only what holds for every process of the container is taken from this spec.
      process,
    });
    const attachesInput = (request.AttachStdin ?? false) && !options.detach;
    const settings = {
      id: record.id,
      ...(request.Tty ? { tty: "1" } : {}),
      ...(attachesInput ? { "open-stdin": "1", "stdin-once": "1" } : {}),
    };
    const cgroupDirectories = Object.values(core.cgroups.directories(cgroupPathOf(core, record)));
    return { plan: compileExecPlan(spec, process, { settings, cgroupDirectories }), settings };
  }

  #process({ request, container }: ExecRecord, consoleSize: readonly [number, number] | undefined): ProcessSpec {
    const { record } = container;
    const user = resolveProcessUser(this.core, record.id, {
      user: request.User || record.config.User || "",
      groupAdd: record.host.GroupAdd ?? [],
    });
    const config = {
      ...record.config,
      Tty: request.Tty ?? false,
      Env: [...(record.config.Env ?? []), ...(request.Env ?? [])],
    };
    return {
      args: request.Cmd,
      env: environmentOf({ ...record, config }, user.home),
      cwd: request.WorkingDir || record.config.WorkingDir || "/",
      user,
      terminal: request.Tty ?? false,
      privileged: request.Privileged ?? false,
      ...(consoleSize ? { consoleSize: { height: consoleSize[0], width: consoleSize[1] } } : {}),
    };
  }

  #ended(exec: ExecRecord, exitCode: number): void {
    exec.state = "ended";
    exec.exitCode = exitCode;
    exec.pid = 0;
    exec.ended.resolve(exitCode);
    exec.container.execIds.delete(exec.id);
    publishContainerEvent(this.core, exec.container.record, {
      action: "exec_die",
      attributes: { execID: exec.id, exitCode: String(exitCode) },
    });
  }

  /** Its exit code, once it has ended. */
  ended(id: string): Promise<number> {
    return this.#get(id).ended.promise;
  }

  /** SIGKILL to its process; nothing when that has gone. */
  kill(id: string): void {
    const { pid, startTime } = this.#get(id);
    if (pid > 0) signalProcess({ pid, startTime, bootId: bootId() }, killSignal);
  }

  /** It is not to be asked about any more. */
  forget(id: string): void {
    this.#records.get(id)?.container.execIds.delete(id);
    this.#records.delete(id);
  }

  async resize(id: string, size: { rows: number; columns: number }): Promise<void> {
    const { session } = this.#get(id);
    if (!session) throw new EngineError("conflict", `Exec ${id} is not running`);
    await session.resize(size);
  }

  async inspect(id: string): Promise<ExecInspect> {
    const { request, container, state, exitCode, pid } = this.#get(id);
    const [entrypoint = "", ...args] = request.Cmd;
    return {
      ID: id,
      Running: state === "running",
      ExitCode: state === "ended" ? exitCode : null,
      ProcessConfig: {
        tty: request.Tty ?? false,
        entrypoint,
        arguments: args,
        privileged: request.Privileged ?? false,
        ...(request.User ? { user: request.User } : {}),
      },
      OpenStdin: request.AttachStdin ?? false,
      OpenStderr: request.AttachStderr ?? false,
      OpenStdout: request.AttachStdout ?? false,
      CanRemove: state === "ended",
      ContainerID: container.record.id,
      DetachKeys: request.DetachKeys ?? "",
      Pid: pid,
    };
  }

  #get(id: string): ExecRecord {
    const record = this.#records.get(id);
    if (!record) throw new EngineError("notFound", `No such exec instance: ${id}`);
    return record;
  }

  #forgetOld(): void {
    for (const [id, record] of this.#records) {
      if (this.#records.size <= keptSessions) return;
      if (record.state !== "running") {
        record.container.execIds.delete(id);
        this.#records.delete(id);
      }
    }
  }
}

function requireRunning({ record }: LiveContainer): void {
  if (record.state.phase !== "running") throw new EngineError("conflict", `Container ${record.id} is not running`);
  if (record.state.paused)
    throw new EngineError("conflict", `Container ${record.name} is paused, unpause the container before exec`);
}

function stdioOf(session: ExecSession, request: ExecCreateRequest): StdioSession {
  return {
    tty: request.Tty ?? false,
    output: chosenOutput(session, request),
    write: async (data) => {
      await session.write(data).catch(() => {});
    },
    closeInput: () => session.closeInput(),
    [Symbol.dispose]: () => session.close(),
  };
}

async function* chosenOutput(session: ExecSession, request: ExecCreateRequest): AsyncGenerator<OutputChunk> {
  for await (const event of session.output) {
    if (event.kind !== "data") continue;
    const wanted = request.Tty || (event.stream === "stdout" ? request.AttachStdout : request.AttachStderr);
    if (wanted) yield { stream: event.stream, data: event.data };
  }
}

/** Nobody reads a detached session: it must not be made to wait for a reader. */
async function drain(session: ExecSession): Promise<void> {
  for await (const _event of session.output) continue;
}
