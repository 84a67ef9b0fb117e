import { type ApiClient, pathPart } from "../../api/client/index.ts";
import type { ContainerInspect, ExecCreateRequest, ExecInspect } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { detachKeysFlag } from "../common-flags.ts";
import { readVariables, resolveVariable } from "../container-request/index.ts";
import { toDetachKeys } from "../detach-keys-flag.ts";
import { streamStdio } from "../stdio-stream.ts";
import { checkTerminal, followWindowSize, windowSize } from "../terminal.ts";

export const command: Command = {
  usage: "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
  description: "Execute a command in a running container",
  aliases: ["container exec", "exec"],
  flags: [
    { name: "detach", short: "d", kind: "bool", description: "Detached mode: run command in the background" },
    detachKeysFlag,
    { name: "env", short: "e", kind: "list", check: resolveVariable, description: "Set environment variables" },
    { name: "env-file", kind: "list", description: "Read in a file of environment variables" },
    { name: "interactive", short: "i", kind: "bool", description: "Keep STDIN open even if not attached" },
    { name: "privileged", kind: "bool", description: "Give extended privileges to the command" },
    { name: "tty", short: "t", kind: "bool", description: "Allocate a pseudo-TTY" },
    { name: "user", short: "u", kind: "string", description: "Username or UID (format: <name|uid>[:<group|gid>])" },
    { name: "workdir", short: "w", kind: "string", description: "Working directory inside the container" },
  ],
  arguments: { min: 2 },
  interspersed: false,
  run: execute,
};

async function execute({ flags, args, client }: Invocation): Promise<number> {
  const [container = "", ...words] = args;
  const detach = flags.bool("detach");
  const [tty, stdin] = [flags.bool("tty"), flags.bool("interactive") && !detach];
  const detachKeys = flags.string("detach-keys");
  toDetachKeys(detachKeys);
  const size = tty ? windowSize() : undefined;
  const request: ExecCreateRequest = {
    User: flags.string("user"),
    Privileged: flags.bool("privileged"),
    Tty: tty,
    AttachStdin: stdin,
    AttachStdout: !detach,
    AttachStderr: !detach,
    DetachKeys: detachKeys,
    Env: readVariables(flags.list("env-file"), flags.list("env")),
    WorkingDir: flags.string("workdir"),
    Cmd: words,
    ...(size ? { ConsoleSize: [size.rows, size.columns] } : {}),
  };
  const engine = await client();
  if (!detach && stdin && tty && !process.stdin.isTTY) {
    // A container that is not there is the more useful message of the two.
    await engine.get<ContainerInspect>(`/containers/${pathPart(container)}/json`);
    checkTerminal(stdin, tty);
  }
  const { Id: id } = await engine.post<{ Id: string }>(`/containers/${pathPart(container)}/exec`, { body: request });
  const start = { Detach: detach, Tty: tty, ...(size ? { ConsoleSize: [size.rows, size.columns] } : {}) };
  if (detach) {
    await engine.post(`/exec/${pathPart(id)}/start`, { body: start });
    return 0;
  }
  return await runSession(engine, { id, start, stdin, tty, detachKeys });
}

async function runSession(
  engine: ApiClient,
  session: { id: string; start: unknown; stdin: boolean; tty: boolean; detachKeys: string },
): Promise<number> {
  const { id, start, stdin, tty, detachKeys } = session;
  const path = `/exec/${pathPart(id)}`;
  using connection = await engine.hijack(`${path}/start`, { body: start, tty });
  using _resize =
    tty && process.stdin.isTTY && windowSize()
      ? followWindowSize(({ rows, columns }) => engine.post(`${path}/resize`, { query: { h: rows, w: columns } }))
      : undefined;
  const end = await streamStdio(connection, { stdin, stdout: true, stderr: true, tty, detachKeys });
  if (end === "detached") {
    const { UsageError } = await import("../usage-error.ts");
    throw new UsageError("read escape sequence");
  }
  const { ExitCode } = await engine.get<ExecInspect>(`${path}/json`);
  return ExitCode ?? 0;
}
