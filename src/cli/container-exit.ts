import { type ApiClient, pathPart, readText } from "../api/client/index.ts";
import { printError } from "./output.ts";

/** The body of `POST /containers/{id}/wait`. */
export interface WaitAnswer {
  readonly StatusCode: number;
  readonly Error?: { readonly Message?: string } | null;
}

const waitFailedCode = 125;
const maxAnswerBytes = 64 * 1024;

/** A wait that has begun. Disposing gives it up: `exitCode` then never settles, and nothing keeps the program alive. */
export interface ContainerWait extends Disposable {
  /** The container's, or 125 (said on stderr) when waiting failed. */
  readonly exitCode: Promise<number>;
}

/**
 * Begins to wait for a container's end; to be called before the start, or a fast exit is lost. Resolves once the engine
 * has taken the request.
 */
export async function beginWait(
  engine: ApiClient,
  id: string,
  condition: "next-exit" | "removed" | "not-running",
): Promise<ContainerWait> {
  const giveUp = new AbortController();
  const { signal } = giveUp;
  const answer = await engine.call("POST", `/containers/${pathPart(id)}/wait`, { query: { condition }, signal });
  const exitCode = readExitCode(answer.body).catch((thrown: unknown) => {
    if (signal.aborted) return new Promise<never>(() => {});
    printError(`error waiting for container: ${(thrown as Error).message}\n`);
    return waitFailedCode;
  });
  return { exitCode, [Symbol.dispose]: () => giveUp.abort() };
}

async function readExitCode(body: AsyncIterable<Uint8Array>): Promise<number> {
  const result = JSON.parse(await readText(body, maxAnswerBytes)) as WaitAnswer;
  if (!result.Error?.Message) return result.StatusCode;
  printError(`Error waiting for container: ${result.Error.Message}\n`);
  return waitFailedCode;
}
