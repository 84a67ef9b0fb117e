import type { HijackedConnection } from "../api/client/index.ts";
import { DetachWatcher } from "../common/index.ts";
import { toDetachKeys } from "./detach-keys-flag.ts";
import { writeBytes } from "./output.ts";
import { rawTerminal } from "./terminal.ts";

export interface StdioOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  readonly detachKeys: string;
}

/**
 * Joins this program's stdio to a container's until its output ends or the detach keys are typed. In terminal mode input is
 * raw meanwhile. The end of input is passed on as a half-close.
 */
export async function streamStdio(
  connection: HijackedConnection,
  options: StdioOptions,
): Promise<"ended" | "detached"> {
  using _raw = options.stdin && options.tty ? await rawTerminal() : undefined;
  const output = copyOutput(connection, options);
  if (!options.stdin) {
    await connection.closeInput();
    await output;
    return "ended";
  }
  const input = new InputCopy(connection, options);
  try {
    return await Promise.race([
      output.then(() => "ended" as const),
      input.detached.then(async () => {
        // Nothing more is shown after the keys; the rest of the output belongs to whoever attaches next.
        output.catch(() => {});
        return "detached" as const;
      }),
    ]);
  } finally {
    input.stop();
  }
}

async function copyOutput(connection: HijackedConnection, options: StdioOptions): Promise<void> {
  for await (const { stream, data } of connection.output()) {
    if (stream === "stdout" ? options.stdout : options.stderr) await writeBytes(stream, data);
  }
}

class InputCopy {
  /** Settles only when the detach keys were typed. */
  readonly detached: Promise<void>;
  readonly #connection: HijackedConnection;
  readonly #watcher: DetachWatcher | undefined;
  #detach: () => void = () => {};

  constructor(connection: HijackedConnection, options: StdioOptions) {
    this.#connection = connection;
    this.#watcher = options.tty ? new DetachWatcher(toDetachKeys(options.detachKeys)) : undefined;
    this.detached = new Promise((resolve) => (this.#detach = resolve));
    process.stdin.on("data", this.#onData);
    process.stdin.on("end", this.#onEnd);
    process.stdin.on("error", this.#onEnd);
  }

  stop(): void {
    process.stdin.off("data", this.#onData);
    process.stdin.off("end", this.#onEnd);
    process.stdin.off("error", this.#onEnd);
    process.stdin.pause();
  }

  readonly #onData = (chunk: Buffer | string): void => {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    const { pass, detached } = this.#watcher?.take(bytes) ?? { pass: bytes, detached: false };
    if (detached) {
      this.#detach();
      return;
    }
    if (pass.length === 0) return;
    process.stdin.pause();
    this.#connection.write(pass).then(
      () => process.stdin.resume(),
      // The container has ended: its output's end says so.
      () => {},
    );
  };

  readonly #onEnd = (): void => {
    void this.#connection.closeInput().catch(() => {});
  };
}
