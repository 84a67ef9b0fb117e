import { EngineError } from "../common/index.ts";

/** Where a build's result goes: `--output`, and BuildKit's exporters. */
export interface BuildOutput {
  readonly type: "docker" | "image" | "local" | "oci" | "registry" | "tar";
  /** The client's folder or file, `-` its standard output; undefined where the engine keeps the result. */
  readonly destination: string | undefined;
  /** `name`, `push`, …; lists such as several names are separated by commas. */
  readonly attributes: Readonly<Record<string, string>>;
}

const types: readonly string[] = ["docker", "image", "local", "oci", "registry", "tar"];

export function isOutputType(type: string): type is BuildOutput["type"] {
  return types.includes(type);
}

/**
 * Reads `--output`: `type=local,dest=out`, comma-separated with CSV's quotes; a path alone is a folder, and `-` a tar on standard
 * output. Throws `invalidArgument` in docker's words.
 */
export function parseBuildOutput(text: string): BuildOutput {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && !only.includes("=")) {
    return only === "-"
      ? { type: "tar", destination: "-", attributes: {} }
      : { type: "local", destination: only, attributes: {} };
  }
  let type = "";
  let destination: string | undefined;
  const attributes: Record<string, string> = {};
  for (const field of fields) {
    const [name = "", value] = field.split(/=(.*)/s, 2);
    if (value === undefined) throw new EngineError("invalidArgument", `invalid value ${field}`);
    const key = name.trim().toLowerCase();
    if (key === "type") type = value;
    else if (key === "dest") destination = value;
    else attributes[key] = value;
  }
  if (type === "") throw new EngineError("invalidArgument", "type is required for output");
  if (!isOutputType(type))
    throw new EngineError("invalidArgument", `invalid output type "${type}": it is one of ${types.join(", ")}`);
  if (type === "local" && destination === undefined)
    throw new EngineError("invalidArgument", "dest is required for local exporter");
  if (type === "local" && destination === "-")
    throw new EngineError("invalidArgument", "dest cannot be stdout for local exporter");
  if ((type === "image" || type === "registry") && destination !== undefined) {
    throw new EngineError("invalidArgument", `dest is not supported by the ${type} exporter`);
  }
  // An archive without a place goes where a pipe takes it.
  if ((type === "tar" || type === "oci") && destination === undefined) destination = "-";
  return { type, destination, attributes };
}

/** `name=value,…` with CSV's quotes. Throws `invalidArgument` for a field without a value. */
export function parseCsvAttributes(text: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const field of csvFields(text)) {
    const [name = "", value] = field.split(/=(.*)/s, 2);
    if (value === undefined) throw new EngineError("invalidArgument", `invalid value ${field}`);
    attributes[name.trim().toLowerCase()] = value;
  }
  return attributes;
}

/** One record of RFC 4180. */
function csvFields(text: string): string[] {
  const fields: string[] = [];
  for (let rest = text; ;) {
    const [whole = "", quoted, plain = "", end = ""] = /^(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/.exec(rest) ?? [];
    if (whole === "" && rest !== "")
      throw new EngineError("invalidArgument", `invalid value "${text}": a quote stands in a field`);
    fields.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    rest = rest.slice(whole.length);
    if (end === "") return fields;
  }
}
