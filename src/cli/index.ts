import type { Paths } from "../common/index.ts";

export { runCli } from "./run-cli.ts";

/** See start-daemon.ts; loaded on first use, since most calls find a daemon. */
export async function startDaemonIfNeeded(
  paths?: Paths,
  options?: { readonly daemonArguments?: readonly string[] },
): Promise<void> {
  const module = await import("./start-daemon.ts");
  await module.startDaemonIfNeeded(paths, options);
}
