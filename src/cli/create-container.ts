import { closeSync, existsSync, openSync, unlinkSync, writeSync } from "node:fs";
import { type ApiClient, compareVersions, isEngineRefusal } from "../api/client/index.ts";
import type { ContainerCreateRequest } from "../spec/index.ts";
import type { FlagValues } from "./flag-values.ts";
import { printError } from "./output.ts";
import { pullImage, withDefaultTag } from "./pull-image.ts";
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
  const image = withDefaultTag(request.Image ?? "");
  const platform = flags.optional("platform");
  const quiet = flags.bool("quiet");
  if (pull === "always") await pullImage(engine, { name: image, platform, quiet, to: "stderr" });
  const mac = flags.optional("mac-address");
  // Newer engines read it in the endpoint alone.
  if (mac && compareVersions(await engine.apiVersion(), "1.44") < 0) request.MacAddress = mac;
  using cidFile = openCidFile(flags.string("cidfile"));
  const query = { name: flags.optional("name"), platform };
  const create = () =>
    engine.post<{ Id: string; Warnings?: string[] | null }>("/containers/create", { query, body: request });
  const answer = await create().catch(async (thrown: unknown) => {
    const isMissing = isEngineRefusal(thrown) && thrown.code === "notFound" && /image/i.test(thrown.message);
    if (!isMissing || pull === "never") throw thrown;
    if (!quiet) printError(`Unable to find image '${image}' locally\n`);
    await pullImage(engine, { name: image, platform, quiet, to: "stderr" });
    return create();
  });
  for (const warning of answer.Warnings ?? []) printError(`WARNING: ${warning}\n`);
  cidFile.write(answer.Id);
  return answer.Id;
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
