import { readFileSync } from "node:fs";

/** How a container, or an exec session, ended. */
export interface ExitRecord {
  /** 128 and the signal's number after a signal. */
  readonly exitCode: number;
  /** 0: it ended by itself. */
  readonly signal: number;
  readonly oomKilled: boolean;
  /** RFC 3339 with nanoseconds. */
  readonly finishedAt: string;
}

export interface StoredExitRecord extends ExitRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: number;
}

/** The fields of an `exited` frame. */
export function decodeExit(fields: readonly string[]): ExitRecord {
  const [exitCode, signal, oom, finishedAt = ""] = fields;
  return { exitCode: Number(exitCode), signal: Number(signal), oomKilled: oom === "1", finishedAt };
}

/** Reads the record that a monitor wrote at its container's end; undefined while there is none. One that was cut off does not count. */
export function readExitRecord(path: string): StoredExitRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    if (space > 0) values.set(line.slice(0, space), line.slice(space + 1));
  }
  const number = (key: string) => Number(values.get(key));
  const finishedAt = values.get("finished-at");
  if (finishedAt === undefined || !Number.isInteger(number("exit-code"))) return undefined;
  return {
    exitCode: number("exit-code"),
    signal: number("signal") || 0,
    oomKilled: values.get("oom") === "1",
    finishedAt,
    pid: number("pid") || 0,
    startTime: number("start-time") || 0,
  };
}
