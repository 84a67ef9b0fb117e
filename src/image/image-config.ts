import { EngineError } from "../common/index.ts";
import { isDigest, type ImageConfig } from "../spec/index.ts";

/** Docker's own limit on a config or manifest is 4 MiB; a config that holds many labels stays far below this. */
export const maxConfigBytes = 8 * 1024 * 1024;
/** Far above what an overlay mount takes; a bound on work, not a promise. */
const maxLayers = 1024;

/**
 * Reads the bytes of an image config (OCI image spec, config.md) and checks what the engine relies on. Unknown members stay.
 * Throws invalidArgument with the member that is wrong.
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.length > maxConfigBytes) {
    throw invalid(`it has ${bytes.length} bytes, and more than ${maxConfigBytes} are not read`);
  }
  const config = parseJson(bytes);
  requireText(config, ["architecture", "os"]);
  requireOptionalText(config, ["variant", "created", "author", "comment", "container", "docker_version"]);
  checkRootfs(config["rootfs"]);
  checkHistory(config["history"]);
  checkRunConfig(config["config"], "config");
  return config as unknown as ImageConfig;
}

type Members = Record<string, unknown>;

function parseJson(bytes: Uint8Array): Members {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new EngineError("invalidArgument", `The image config is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(value)) throw invalid("it is no object");
  return value;
}

function checkRootfs(rootfs: unknown): void {
  if (!isObject(rootfs)) throw invalid('"rootfs" is missing');
  if (rootfs["type"] !== "layers") throw invalid(`"rootfs.type" is ${JSON.stringify(rootfs["type"])}, not "layers"`);
  // Docker writes null for an image without layers.
  const diffIds = rootfs["diff_ids"] ?? [];
  if (!isListOf(diffIds, (entry) => typeof entry === "string" && isDigest(entry))) {
    throw invalid('"rootfs.diff_ids" is no list of sha256 digests');
  }
  if (diffIds.length > maxLayers)
    throw invalid(`it has ${diffIds.length} layers, and more than ${maxLayers} are not taken`);
  rootfs["diff_ids"] = diffIds;
}

function checkHistory(history: unknown): void {
  if (history === undefined || history === null) return;
  if (!isListOf(history, isObject)) throw invalid('"history" is no list of objects');
  for (const entry of history as Members[]) {
    requireOptionalText(entry, ["created", "created_by", "author", "comment"]);
    if (!["undefined", "boolean"].includes(typeof entry["empty_layer"])) {
      throw invalid('"history.empty_layer" is no boolean');
    }
  }
}

function checkRunConfig(config: unknown, name: string): void {
  if (config === undefined || config === null) return;
  if (!isObject(config)) throw invalid(`"${name}" is no object`);
  requireOptionalText(config, ["User", "WorkingDir", "StopSignal", "Hostname", "Domainname"]);
  for (const member of ["Env", "Cmd", "Entrypoint", "OnBuild", "Shell"]) {
    const value = config[member] ?? [];
    if (!isListOf(value, (entry) => typeof entry === "string")) throw invalid(`"${name}.${member}" is no list of text`);
  }
  for (const member of ["ExposedPorts", "Volumes"]) {
    const value = config[member] ?? {};
    if (!isObject(value)) throw invalid(`"${name}.${member}" is no object`);
  }
  const labels = config["Labels"] ?? {};
  if (!isObject(labels) || !Object.values(labels).every((value) => typeof value === "string")) {
    throw invalid(`"${name}.Labels" is no object of text`);
  }
}

function requireText(object: Members, members: readonly string[]): void {
  for (const member of members) {
    if (typeof object[member] !== "string" || object[member] === "") throw invalid(`"${member}" is missing`);
  }
}

function requireOptionalText(object: Members, members: readonly string[]): void {
  for (const member of members) {
    const value = object[member] ?? "";
    if (typeof value !== "string") throw invalid(`"${member}" is ${JSON.stringify(value)}, which is no text`);
  }
}

export function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOf(value: unknown, accepts: (entry: unknown) => boolean): value is unknown[] {
  return Array.isArray(value) && value.every(accepts);
}

function invalid(why: string): EngineError {
  return new EngineError("invalidArgument", `The image config is not valid: ${why}`);
}
