// RUN --mount, as the Dockerfile reference has it ("RUN --mount").
import { parseSize } from "../common/index.ts";
import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import { quote } from "./characters.ts";
import { splitOnce } from "./instruction-flags.ts";
import { didYouMean } from "./suggest.ts";

const types = ["bind", "cache", "tmpfs", "secret", "ssh"];
const sharings = ["shared", "private", "locked"];
const keys =
  "type from source src target dst destination readonly ro readwrite rw required size id sharing mode uid gid env";
const switches = new Set(["readonly", "ro", "readwrite", "rw", "required"]);

/** Checks one `--mount` value. Values that hold a variable are checked only for their keys. Returns its fields. */
export function parseRunMount(text: string, position: Position): ReadonlyMap<string, string> {
  const fields = new Map<string, string>([["type", "bind"]]);
  for (const field of splitCsv(text, position)) {
    const [written, value] = splitOnce(field, "=");
    const key = written.toLowerCase();
    const names = keys.split(" ");
    if (value === undefined && !switches.has(key)) {
      throw new DockerfileFault(`invalid field '${field}' must be a key=value pair`, position);
    }
    if (!names.includes(key)) {
      throw new DockerfileFault(`unexpected key '${key}' in '${field}'${didYouMean(key, names)}`, position);
    }
    if (key === "from" && /\$./.test(value ?? "")) {
      throw new DockerfileFault(`'from' doesn't support variable expansion, define alias stage instead`, position);
    }
    if (value !== undefined && !value.includes("$")) checkValue(key, value, position);
    fields.set(key, value ?? "true");
  }
  checkTogether(fields, position);
  return fields;
}

function checkValue(key: string, value: string, position: Position): void {
  const lower = value.toLowerCase();
  if (key === "type" && !types.includes(lower)) {
    throw new DockerfileFault(`unsupported mount type ${quote(value)}${didYouMean(value, types)}`, position);
  }
  if (key === "sharing" && !sharings.includes(lower)) {
    throw new DockerfileFault(`unsupported sharing value ${quote(value)}${didYouMean(value, sharings)}`, position);
  }
  if (switches.has(key) && !/^(1|t|true|0|f|false)$/i.test(value)) {
    throw new DockerfileFault(`invalid value for ${key}: ${value}`, position);
  }
  if (key === "mode" && !/^[0-7]{1,11}$/.test(value)) {
    throw new DockerfileFault(`invalid value ${value} for mode`, position);
  }
  if ((key === "uid" || key === "gid") && !(/^\d{1,10}$/.test(value) && Number(value) < 2 ** 32)) {
    throw new DockerfileFault(`invalid value ${value} for ${key}`, position);
  }
  if (key === "size") {
    try {
      parseSize(value);
    } catch {
      throw new DockerfileFault(`invalid value for size: ${value}`, position);
    }
  }
}

function checkTogether(fields: ReadonlyMap<string, string>, position: Position): void {
  const type = (fields.get("type") ?? "").toLowerCase();
  if (type.includes("$")) return;
  const refuse = (message: string): never => {
    throw new DockerfileFault(message, position);
  };
  const allowedFor: Record<string, readonly string[]> = { required: ["secret", "ssh"], size: ["tmpfs"] };
  for (const [key, allowed] of Object.entries(allowedFor)) {
    if (fields.has(key) && !allowed.includes(type)) refuse(`unexpected key '${key}' for mount type '${type}'`);
  }
  for (const key of ["mode", "uid", "gid"]) {
    if (fields.has(key) && (type === "bind" || type === "tmpfs"))
      refuse(`${key} not allowed for "${type}" type mounts`);
  }
  if (type === "secret") {
    const source = fields.has("source") || fields.has("src");
    const target = fields.has("target") || fields.has("dst") || fields.has("destination");
    if (fields.has("from")) refuse("secret mount should not have a from");
    if (fields.has("sharing")) refuse("secret mount should not define sharing");
    if (!source && !target && !fields.has("id")) refuse("invalid secret mount. one of source, target required");
    if (source && fields.has("id")) refuse("both source and id can't be set");
  }
  if (fields.has("sharing") && type !== "cache") refuse(`invalid cache sharing set for ${type} mount`);
}

/** One line of CSV (RFC 4180). */
function splitCsv(text: string, position: Position): string[] {
  const fields: string[] = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/gy;
  for (;;) {
    const match = pattern.exec(text);
    if (!match)
      throw new DockerfileFault(`failed to parse csv mounts: bare or unmatched " in ${quote(text)}`, position);
    fields.push(match[1] === undefined ? (match[2] ?? "") : match[1].replaceAll('""', '"'));
    if (match[3] === "") return fields;
  }
}
