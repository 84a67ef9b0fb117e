import { type ApiClient, pathPart } from "../../api/client/index.ts";
import type { ContainerInspect } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { detachKeysFlag, signalProxyFlag } from "../common-flags.ts";
import { beginWait } from "../container-exit.ts";
import { toDetachKeys } from "../detach-keys-flag.ts";
import { proxySignals } from "../signal-proxy.ts";
import { streamStdio } from "../stdio-stream.ts";
import { checkTerminal, followWindowSize, windowSize } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export const command: Command = {
  usage: "attach [OPTIONS] CONTAINER",
  description: "Attach local standard input, output, and error streams to a running container",
  aliases: ["container attach", "attach"],
  flags: [detachKeysFlag, { name: "no-stdin", kind: "bool", description: "Do not attach STDIN" }, signalProxyFlag],
  arguments: { min: 1, max: 1 },
  run: attach,
};

async function attach({ flags, args, client }: Invocation): Promise<number> {
  const detachKeys = flags.string("detach-keys");
  toDetachKeys(detachKeys);
  const engine = await client();
  const { Id: id, Config, State } = await engine.get<ContainerInspect>(`/containers/${pathPart(args[0] ?? "")}/json`);
  if (!State.Running) throw new UsageError("You cannot attach to a stopped container, start it first");
  if (State.Paused) throw new UsageError("You cannot attach to a paused container, unpause it first");
  if (State.Restarting) throw new UsageError("You cannot attach to a restarting container, wait until it is running");
  const tty = Config.Tty ?? false;
  checkTerminal(!flags.bool("no-stdin"), tty);
  const stdin = !flags.bool("no-stdin") && (Config.OpenStdin ?? false);
  using _signals = flags.bool("sig-proxy") && !tty ? proxySignals(engine, id) : undefined;
  using waiting = await beginWait(engine, id, "not-running");
  const query = {
    stream: true,
    stdin: stdin || undefined,
    stdout: true,
    stderr: true,
    detachKeys: detachKeys || undefined,
  };
  using connection = await engine.hijack(`/containers/${pathPart(id)}/attach`, { query, tty });
  using _resize = tty && windowSize() ? await redraw(engine, id) : undefined;
  const end = await streamStdio(connection, { stdin, stdout: true, stderr: true, tty, detachKeys });
  if (end === "detached") {
    throw new UsageError("read escape sequence");
  }
  return await waiting.exitCode;
}

/** A program draws its screen anew only when the size changes: so it is made to change. */
async function redraw(engine: ApiClient, id: string): Promise<Disposable> {
  const resize = (size: { rows: number; columns: number }): Promise<void> =>
    engine.post(`/containers/${pathPart(id)}/resize`, { query: { h: size.rows, w: size.columns } });
  const size = windowSize();
  if (size) await resize({ rows: size.rows + 1, columns: size.columns + 1 }).catch(() => {});
  return followWindowSize(resize);
}
