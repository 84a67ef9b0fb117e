import { type ApiClient, pathPart } from "../api/client/index.ts";
import { printError } from "./output.ts";

/** Signals that a container may be meant by. CHLD, PIPE, URG and WINCH are the client's own affair. */
const forwarded = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGCONT",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
] as const;

const forceAfter = 3;

/** Sends the signals that this program gets to the container instead. The third SIGINT or SIGTERM ends this program. */
export function proxySignals(engine: ApiClient, containerId: string): Disposable {
  let interrupts = 0;
  const handlers = forwarded.map((signal) => {
    const handler = (): void => {
      if ((signal === "SIGINT" || signal === "SIGTERM") && ++interrupts >= forceAfter) {
        printError(`got ${forceAfter} SIGTERM/SIGINTs, forcefully exiting\n`);
        process.exit(1);
      }
      const query = { signal: signal.slice("SIG".length) };
      // A container that has just ended is no failure.
      void engine.post(`/containers/${pathPart(containerId)}/kill`, { query }).catch(() => {});
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}
