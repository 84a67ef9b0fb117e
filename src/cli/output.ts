import { writeSync } from "node:fs";

const standardOutput = 1;
const standardError = 2;
/** How long a full pipe that was set non-blocking is left alone before the next try. */
const retryMs = 2;

/** Text to standard output, whole before it returns: nothing is lost when the program exits right after. */
export function print(text: string): void {
  writeWhole(standardOutput, Buffer.from(text));
}

export function printError(text: string): void {
  writeWhole(standardError, Buffer.from(text));
}

/** A line to standard output. */
export function printLine(text: string): void {
  print(`${text}\n`);
}

function writeWhole(descriptor: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (thrown) {
      const { code } = thrown as { code?: string };
      if (code === "EAGAIN") Bun.sleepSync(retryMs);
      else if (code === "EPIPE") exitOnBrokenPipe();
      else throw thrown;
    }
  }
}

/** Bytes of a stream, without holding up anything else while the reader is slow. */
export function writeBytes(to: "stdout" | "stderr", bytes: Uint8Array): Promise<void> {
  const stream = to === "stdout" ? process.stdout : process.stderr;
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => {
      if (!error) resolve();
      else if ((error as { code?: string }).code === "EPIPE") exitOnBrokenPipe();
      else reject(error);
    });
  });
}

function exitOnBrokenPipe(): never {
  // What a program that does not ignore SIGPIPE ends with.
  process.exit(141);
}
