import { type ApiClient, pathPart } from "../api/client/index.ts";
import { printError } from "./output.ts";

/** The body of `POST /containers/{id}/wait`. */
export interface WaitAnswer {
  readonly StatusCode: number;
  readonly Error?: { readonly Message?: string } | null;
}

const waitFailedCode = 125;

/**
 * Begins to wait for a container's end; to be called before the start, or a fast exit is lost. Resolves once the engine
 * has taken the request; `exitCode` is the container's, or 125 (said on stderr) when waiting failed.
 */
export async function beginWait(
  engine: ApiClient,
  id: string,
  condition: "next-exit" | "removed" | "not-running",
): Promise<{ exitCode: Promise<number> }> {
  const answer = await engine.call("POST", `/containers/${pathPart(id)}/wait`, { query: { condition } });
  const read = async (): Promise<number> => {
    const { readText } = await import("../api/client/index.ts");
    const result = JSON.parse(await readText(answer.body, 65_536)) as WaitAnswer;
    if (!result.Error?.Message) return result.StatusCode;
    printError(`Error waiting for container: ${result.Error.Message}\n`);
    return waitFailedCode;
  };
  const exitCode = read().catch((thrown: unknown) => {
    printError(`error waiting for container: ${(thrown as Error).message}\n`);
    return waitFailedCode;
  });
  return { exitCode };
}
