import { closeSync, existsSync, openSync, unlinkSync, writeSync } from "node:fs";
import { type ApiClient, compareVersions, isEngineRefusal } from "../api/client/index.ts";
import type { ContainerCreateRequest } from "../spec/index.ts";
import type { FlagValues } from "./flag-values.ts";
import { printError } from "./output.ts";
import { UsageError } from "./usage-error.ts";

/**
 * Creates the container and gives its id; warnings go to stderr, the id to the `--cidfile`, which is made before and removed
 * again when the creation fails.
 */
export async function createContainer(
  engine: ApiClient,
  flags: FlagValues,
  request: ContainerCreateRequest,
): Promise<string> {
  const pull = flags.string("pull");
  if (!/^(always|missing|never|)$/.test(pull)) {
    throw new UsageError(`invalid pull option: '${pull}': must be one of "always", "missing" or "never"`);
  }
  if (pull === "always") throw new UsageError("--pull=always: pulling from a registry is not built yet");
  const mac = flags.optional("mac-address");
  // Newer engines read it in the endpoint alone.
  if (mac && compareVersions(await engine.apiVersion(), "1.44") < 0) request.MacAddress = mac;
  using cidFile = openCidFile(flags.string("cidfile"));
  const query = { name: flags.optional("name"), platform: flags.optional("platform") };
  const answer = await engine
    .post<{ Id: string; Warnings?: string[] | null }>("/containers/create", { query, body: request })
    .catch((thrown: unknown) => {
      if (pull !== "never" && isEngineRefusal(thrown) && thrown.code === "notFound" && /image/i.test(thrown.message)) {
        printError(`Unable to find image '${withTag(request.Image ?? "")}' locally\n`);
      }
      throw thrown;
    });
  for (const warning of answer.Warnings ?? []) printError(`WARNING: ${warning}\n`);
  cidFile.write(answer.Id);
  return answer.Id;
}

function withTag(image: string): string {
  return /@|:[^/]*$/.test(image) ? image : `${image}:latest`;
}

interface CidFile extends Disposable {
  write(id: string): void;
}

function openCidFile(path: string): CidFile {
  if (path === "") return { write() {}, [Symbol.dispose]() {} };
  if (existsSync(path)) {
    throw new UsageError(`container ID file found, make sure the other container isn't running or delete ${path}`);
  }
  let descriptor: number;
  try {
    descriptor = openSync(path, "wx", 0o644);
  } catch (thrown) {
    throw new UsageError(`failed to create the container ID file: ${(thrown as Error).message}`);
  }
  let written = false;
  return {
    write(id) {
      writeSync(descriptor, id);
      written = true;
    },
    [Symbol.dispose]() {
      closeSync(descriptor);
      if (!written) unlinkSync(path);
    },
  };
}
