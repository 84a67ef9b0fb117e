// Containers over the engine's API alone: for suites that also run where there is no docker and no compiler.
import type { ContainerCreateRequest, HostConfig } from "../../src/spec/index.ts";
import { Hijacked, demultiplex, textOf } from "./api-client.ts";
import type { Outcome, TestEngine } from "./test-engine.ts";

/** A shell command, or a program with its arguments. */
export type Command = string | readonly string[];

export interface ContainerRequest extends Omit<ContainerCreateRequest, "Cmd" | "HostConfig"> {
  readonly name?: string;
  readonly host?: HostConfig;
}

/** Makes a container of the image "busybox" without a network, unless the request says otherwise. */
export async function createContainer(
  engine: TestEngine,
  command: Command,
  { name, host, ...config }: ContainerRequest = {},
): Promise<string> {
  const request = {
    Image: "busybox",
    ...config,
    Cmd: typeof command === "string" ? ["sh", "-c", command] : command,
    HostConfig: { NetworkMode: "none", ...host },
  };
  return (await ask<{ Id: string }>(engine, "POST", `/containers/create${name ? `?name=${name}` : ""}`, request)).Id;
}

/** As `createContainer`, and starts it. */
export async function startContainer(
  engine: TestEngine,
  command: Command,
  request: ContainerRequest = {},
): Promise<string> {
  const id = await createContainer(engine, command, request);
  await ask(engine, "POST", `/containers/${id}/start`);
  return id;
}

/** Runs a container to its end and removes it. */
export async function runContainer(
  engine: TestEngine,
  command: Command,
  request: ContainerRequest = {},
): Promise<Outcome> {
  const id = await createContainer(engine, command, request);
  try {
    const ended = ask<{ StatusCode: number }>(engine, "POST", `/containers/${id}/wait?condition=next-exit`);
    ended.catch(() => {});
    await ask(engine, "POST", `/containers/${id}/start`);
    const { StatusCode: exitCode } = await ended;
    return { ...(await logsOf(engine, id)), exitCode };
  } finally {
    await removeContainer(engine, id);
  }
}

export async function removeContainer(engine: TestEngine, id: string): Promise<void> {
  await ask(engine, "DELETE", `/containers/${id}?force=1&v=1`);
}

export async function waitContainer(engine: TestEngine, id: string): Promise<number> {
  return (await ask<{ StatusCode: number }>(engine, "POST", `/containers/${id}/wait`)).StatusCode;
}

export async function logsOf(engine: TestEngine, id: string): Promise<{ stdout: string; stderr: string }> {
  const response = await engine.api("GET", `/containers/${id}/logs?stdout=1&stderr=1`);
  if (!response.ok) throw new Error(await response.text());
  const pieces = demultiplex(await response.bytes());
  return { stdout: textOf(pieces, "stdout"), stderr: textOf(pieces, "stderr") };
}

/** One more process in a container that runs. */
export async function execContainer(engine: TestEngine, id: string, command: Command): Promise<Outcome> {
  const { Id: exec } = await ask<{ Id: string }>(engine, "POST", `/containers/${id}/exec`, {
    Cmd: typeof command === "string" ? ["sh", "-c", command] : command,
    AttachStdout: true,
    AttachStderr: true,
  });
  const session = await Hijacked.open(engine, `/exec/${exec}/start`, { Detach: false, Tty: false });
  const output = await session.output;
  if (!session.head.startsWith("HTTP/1.1 101")) throw new Error(`${session.head}\n${output.toString()}`);
  const pieces = demultiplex(output);
  const { ExitCode } = await ask<{ ExitCode: number }>(engine, "GET", `/exec/${exec}/json`);
  return { stdout: textOf(pieces, "stdout"), stderr: textOf(pieces, "stderr"), exitCode: ExitCode };
}

/** The message with which a request is refused; throws when it is not. */
export async function refusal(engine: TestEngine, method: string, path: string, body?: unknown): Promise<string> {
  const response = await engine.api(method, path, body);
  const text = await response.text();
  if (response.ok) throw new Error(`${method} ${path} was not refused: ${text}`);
  return (JSON.parse(text) as { message: string }).message;
}

/** Throws the engine's words for anything but success; answers the JSON, where there is some. */
export async function ask<Answer = unknown>(
  engine: TestEngine,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await engine.api(method, path, body);
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return (text.trim() === "" ? undefined : JSON.parse(text)) as Answer;
}
