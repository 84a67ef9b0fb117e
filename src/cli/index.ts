export { runCli } from "./run-cli.ts";
export { startDaemonIfNeeded } from "./start-daemon.ts";
