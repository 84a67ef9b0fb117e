import { EngineError, parseDetachKeys, toEngineError } from "../../common/index.ts";
import type { Engine, OutputChunk, StdioSession } from "../../engine/index.ts";
import { frame, multiplexedStreamType, rawStreamType } from "../multiplex.ts";
import { empty, json, eagerStream, type ApiReply } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import { execCreate, execStart } from "../schemas.ts";

/** Everything that moves a process's input and output: attach, logs, exec, window sizes. */
export function containerIoRoutes(engine: Engine): Routes {
  return {
    "POST /containers/:id/attach": async (request) => attach(engine, request),
    "GET /containers/:id/logs": async (request) => logs(engine, request),
    "POST /containers/:id/resize": async (request) => {
      await engine.containers.resize(request.parameter("id"), windowSize(request));
      return empty(200);
    },
    "POST /containers/:id/exec": async (request) => {
      const body = await request.json(execCreate);
      parseDetachKeys(body.DetachKeys);
      const id = await engine.execs.create(request.parameter("id"), body);
      return json({ Id: id }, 201);
    },
    "POST /exec/:id/start": async (request) => startExec(engine, request),
    "POST /exec/:id/resize": async (request) => {
      await engine.execs.resize(request.parameter("id"), windowSize(request));
      return empty(200);
    },
    "GET /exec/:id/json": async (request) => json(await engine.execs.inspect(request.parameter("id"))),
  };
}

function windowSize(request: ApiRequest): { rows: number; columns: number } {
  const rows = request.integer("h");
  const columns = request.integer("w");
  if (rows === undefined || columns === undefined || rows < 0 || columns < 0 || rows > 65_535 || columns > 65_535) {
    throw new EngineError("invalidArgument", "A window size needs h and w, each from 0 to 65535");
  }
  return { rows, columns };
}

async function attach(engine: Engine, request: ApiRequest): Promise<ApiReply> {
  const detachKeys = parseDetachKeys(request.text("detachKeys"));
  const session = await engine.containers.attach(request.parameter("id"), {
    stdin: request.flag("stdin"),
    stdout: request.flag("stdout"),
    stderr: request.flag("stderr"),
    logs: request.flag("logs"),
    stream: request.flag("stream"),
  });
  return { kind: "hijack", session, readsInput: request.flag("stdin") && request.flag("stream"), detachKeys };
}

async function startExec(engine: Engine, request: ApiRequest): Promise<ApiReply> {
  const body = await request.json(execStart);
  const id = request.parameter("id");
  const size = body.ConsoleSize;
  const options = { detach: body.Detach === true, ...(size ? { consoleSize: size } : {}) };
  const { DetachKeys, ProcessConfig } = await engine.execs.inspect(id);
  const detachKeys = parseDetachKeys(DetachKeys);
  try {
    const session = await engine.execs.start(id, options);
    return session ? { kind: "hijack", session, readsInput: true, detachKeys } : empty(200);
  } catch (thrown) {
    const error = toEngineError(thrown);
    const hasRun = (await engine.execs.inspect(id)).ExitCode !== null;
    if (options.detach || error.code === "conflict" || !hasRun) throw error;
    return { kind: "hijack", session: failedSession(error.message, ProcessConfig.tty), readsInput: false, detachKeys };
  }
}

/** As in dockerd: the reason is the session's output, and clients ask for its exit code (126, 127) afterwards. */
function failedSession(message: string, tty: boolean): StdioSession {
  return {
    tty,
    output: (async function* () {
      yield { stream: "stdout" as const, data: Buffer.from(`${message}\r\n`) };
    })(),
    write: async () => {},
    closeInput() {},
    [Symbol.dispose]() {},
  };
}

async function logs(engine: Engine, request: ApiRequest): Promise<ApiReply> {
  const stdout = request.flag("stdout");
  const stderr = request.flag("stderr");
  if (!stdout && !stderr) {
    throw new EngineError("invalidArgument", "Bad parameters: you must choose at least one stream");
  }
  const since = request.time("since");
  const until = request.time("until");
  const tail = request.text("tail");
  const timestamps = request.flag("timestamps");
  const { tty, records } = await engine.containers.logs(
    request.parameter("id"),
    {
      stdout,
      stderr,
      follow: request.flag("follow"),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
      ...(tail === undefined || tail === "all" ? {} : { tail: tailCount(tail) }),
    },
    request.signal,
  );
  return eagerStream(tty ? rawStreamType : multiplexedStreamType, logBytes(records, { tty, timestamps }));
}

/** Docker takes anything that is no number for "all". */
function tailCount(text: string): number {
  const count = Number(text);
  return Number.isInteger(count) && count >= 0 ? count : Number.MAX_SAFE_INTEGER;
}

async function* logBytes(
  records: AsyncIterable<OutputChunk>,
  form: { tty: boolean; timestamps: boolean },
): AsyncGenerator<Uint8Array> {
  for await (const record of records) {
    const data =
      form.timestamps && record.time ? Buffer.concat([Buffer.from(`${record.time} `), record.data]) : record.data;
    yield form.tty ? data : frame({ ...record, data });
  }
}
