import { localMachine } from "../api/client/index.ts";
import { CommandFailure } from "./usage-error.ts";

const standardInput = 0;

/** Signals whose default action would end the program without the `exit` event. */
const deadly = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/**
 * Puts the terminal of standard input into raw mode; disposing restores it. It is restored on every way out: exit,
 * exception, and the signals that end a program. Nothing happens when input is no terminal.
 */
export async function rawTerminal(): Promise<Disposable> {
  if (!process.stdin.isTTY) return { [Symbol.dispose]() {} };
  // Not setRawMode: it leaves output processing on, and a container's line feeds would become two characters.
  const { makeTerminalRaw, restoreTerminal } = await localMachine();
  let before: Uint8Array | undefined;
  const restore = (): void => {
    if (before) restoreTerminal(standardInput, before);
    before = undefined;
  };
  const handlers = Object.entries(deadly).map(([signal, number]) => {
    const handler = (): void => {
      // With a signal proxy the container gets the signal, and its end is ours.
      if (process.listenerCount(signal) > 1) return;
      restore();
      process.exit(128 + number);
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  process.on("exit", restore);
  before = makeTerminalRaw(standardInput);
  return {
    [Symbol.dispose]() {
      restore();
      process.off("exit", restore);
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}

/** Throws when a terminal was asked for and input is none, before anything is created. */
export function checkTerminal(attachStdin: boolean, tty: boolean): void {
  if (attachStdin && tty && !process.stdin.isTTY) throw new CommandFailure("the input device is not a TTY");
}

/** Rows and columns of the terminal of standard output; undefined when it is none. */
export function windowSize(): { rows: number; columns: number } | undefined {
  if (!process.stdout.isTTY) return undefined;
  const [columns, rows] = process.stdout.getWindowSize();
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}

/** Tells `resize` the window's size now and whenever it changes; failures are not worth a word, as with docker. */
export function followWindowSize(resize: (size: { rows: number; columns: number }) => Promise<unknown>): Disposable {
  const send = (): void => {
    const size = windowSize();
    if (size) void resize(size).catch(() => {});
  };
  send();
  process.stdout.on("resize", send);
  return {
    [Symbol.dispose]() {
      process.stdout.off("resize", send);
    },
  };
}
