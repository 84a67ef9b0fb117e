import { type ApiClient, pathPart } from "../../api/client/index.ts";
import type { ContainerCreateRequest } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { detachKeysFlag, signalProxyFlag } from "../common-flags.ts";
import { containerFlags, creationFlags } from "../container-flags.ts";
import { toCreateRequest } from "../container-request/index.ts";
import { createContainer } from "../create-container.ts";
import { toDetachKeys } from "../detach-keys-flag.ts";
import type { FlagValues } from "../flag-values.ts";
import { printLine } from "../output.ts";
import { startFailure } from "../start-failure.ts";
import { EngineError } from "../../common/index.ts";
import { runAttached } from "../run-attached.ts";
import { checkTerminal } from "../terminal.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
  description: "Create and run a new container from an image",
  aliases: ["container run", "run"],
  flags: [
    ...containerFlags,
    ...creationFlags,
    { name: "detach", short: "d", kind: "bool", description: "Run container in background and print container ID" },
    detachKeysFlag,
    signalProxyFlag,
    { name: "trace", kind: "bool", description: "Print each kernel call of the start, what it returned and took" },
  ],
  arguments: { min: 1 },
  interspersed: false,
  failureCode: 125,
  async run(invocation) {
    try {
      return await runContainer(invocation);
    } catch (thrown) {
      throw thrown instanceof EngineError ? startFailure(thrown) : thrown;
    }
  },
};

async function runContainer({ flags, args, client }: Invocation): Promise<number> {
  const request = toCreateRequest(flags, args);
  if (flags.bool("detach")) {
    if (flags.list("attach").length > 0) {
      throw new CommandFailure("conflicting options: cannot specify both --attach and --detach");
    }
    Object.assign(request, { AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false });
  } else {
    checkTerminal(request.AttachStdin ?? false, request.Tty ?? false);
  }
  toDetachKeys(flags.string("detach-keys"));
  const trace = flags.bool("trace");
  // A traced container must outlive its start, so that its plan can be asked for: then this client removes it.
  const removeHere = trace && (request.HostConfig?.AutoRemove ?? false);
  if (removeHere && request.HostConfig) request.HostConfig.AutoRemove = false;
  const engine = await client();
  const id = await createContainer(engine, flags, request);
  const attach = request.AttachStdin || request.AttachStdout || request.AttachStderr;
  if (!attach) return await startDetached(engine, { id, trace });
  return await attachAndRun(engine, { id, flags, request, removeHere });
}

async function startDetached(engine: ApiClient, options: { id: string; trace: boolean }): Promise<number> {
  const { id, trace } = options;
  try {
    await engine.post(`/containers/${pathPart(id)}/start`);
  } catch (thrown) {
    printLine(id);
    throw thrown;
  }
  if (trace) await printTrace(engine, id);
  printLine(id);
  return 0;
}

async function attachAndRun(
  engine: ApiClient,
  options: { id: string; flags: FlagValues; request: ContainerCreateRequest; removeHere: boolean },
): Promise<number> {
  const { id, flags, request, removeHere } = options;
  try {
    return await runAttached(engine, {
      id,
      tty: request.Tty ?? false,
      stdin: request.AttachStdin ?? false,
      stdout: request.AttachStdout ?? false,
      stderr: request.AttachStderr ?? false,
      detachKeys: flags.string("detach-keys"),
      autoRemove: request.HostConfig?.AutoRemove ?? false,
      signalProxy: flags.bool("sig-proxy"),
      started: flags.bool("trace") ? () => printTrace(engine, id) : undefined,
    });
  } finally {
    if (removeHere) await engine.delete(`/containers/${pathPart(id)}`, { v: true, force: true });
  }
}

async function printTrace(engine: ApiClient, id: string): Promise<void> {
  const { printPlanOf } = await import("../plan-text.ts");
  await printPlanOf(engine, id);
}
