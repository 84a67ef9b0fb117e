// RUN --mount, as the Dockerfile reference has it ("RUN --mount").
import { posix } from "node:path";
import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import { quote } from "./characters.ts";
import type { RunInstruction } from "./instruction.ts";
import { splitOnce } from "./instruction-flags.ts";
import { checkField, mountFieldNames, mountSwitches, parseBool, parseMountSize } from "./run-mount-fields.ts";
import { expandWord, type LexerOptions, type Variables } from "./shell-words.ts";
import { didYouMean } from "./suggest.ts";

/** Who it belongs to; 0 unless they are named. The mode is 755 of a cache, 400 of a secret and 600 of an agent's socket. */
interface MountOwner {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

interface MountBase {
  /** As written: relative to WORKDIR where it has no slash at its beginning. */
  readonly target: string;
  readonly readOnly: boolean;
}

/** Files of the context, or of `from`: a stage, an image or a named context. What is written to them is lost. */
export interface BindMount extends MountBase {
  readonly type: "bind";
  readonly from?: string;
  /** Below the root of its origin; `/` is all of it. */
  readonly source: string;
}

/** A directory that outlives the build. `from` and `source` are what it begins with. */
export interface CacheMount extends MountBase, MountOwner {
  readonly type: "cache";
  /** Its target unless it is named. */
  readonly id: string;
  readonly sharing: "shared" | "private" | "locked";
  readonly from?: string;
  readonly source: string;
}

export interface TmpfsMount extends MountBase {
  readonly type: "tmpfs";
  /** Without it the kernel's default: half of the memory. */
  readonly sizeBytes?: number;
}

/** A secret as a file, as a variable, or both. */
export interface SecretMount extends MountOwner {
  readonly type: "secret";
  readonly id: string;
  /** `/run/secrets/ID` unless it is named; none for one that is only a variable. */
  readonly target?: string;
  readonly env?: string;
  /** Without it the step runs without a secret that the client has not. */
  readonly required: boolean;
}

export interface SshMount extends MountOwner {
  readonly type: "ssh";
  readonly id: string;
  /** `/run/buildkit/ssh_agent.N` unless it is named, N counting the step's ssh mounts from 0. */
  readonly target: string;
  readonly required: boolean;
}

export type RunMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount;

type Fields = ReadonlyMap<string, string>;

/** The mounts of a RUN, variables replaced and defaults filled in. Throws `DockerfileFault` with Docker's words. */
export function runMounts(instruction: RunInstruction, variables: Variables, options: LexerOptions): RunMount[] {
  const expand = (text: string): string => expandWord(text, variables, options);
  let agents = 0;
  return instruction.flags
    .filter((flag) => flag.name === "mount")
    .map(({ value, position }) => {
      const mount = toMount(readFields(value, position, { expand }), position);
      return mount.type === "ssh" && mount.target === ""
        ? { ...mount, target: `/run/buildkit/ssh_agent.${agents++}` }
        : mount;
    });
}

/** What the mounts of a RUN name with `from`: stages, images or named contexts. */
export function mountOrigins(instruction: RunInstruction): { from: string; position: Position }[] {
  return instruction.flags
    .filter((flag) => flag.name === "mount")
    .flatMap(({ value, position }) => {
      const from = splitCsv(value, position).findLast((field) => /^from=/i.test(field));
      return from === undefined ? [] : [{ from: from.slice("from=".length), position }];
    });
}

/** Refuses what no value of a variable could make right: at parsing nobody knows their values. */
export function checkRunMount(text: string, position: Position): void {
  const fields = readFields(text, position);
  if (![...fields.values()].some((value) => value.includes("$"))) toMount(fields, position);
}

/** Where a mount's target is, below a working directory. */
export function mountTarget(target: string, workingDirectory: string): string {
  const path = posix.resolve("/", workingDirectory, target);
  if (path === "/") throw new Error(`invalid mount target ${quote("/")}`);
  return path;
}

function readFields(text: string, position: Position, options?: { expand: (text: string) => string }): Fields {
  const fields = new Map<string, string>([["type", "bind"]]);
  const refuse = (message: string): never => {
    throw new DockerfileFault(message, position);
  };
  for (const field of splitCsv(text, position)) {
    const [written, raw] = splitOnce(field, "=");
    const key = written.toLowerCase();
    if (raw === undefined && !mountSwitches.has(key)) refuse(`invalid field '${field}' must be a key=value pair`);
    const name = Object.hasOwn(mountFieldNames, key) ? mountFieldNames[key] : undefined;
    if (name === undefined) {
      return refuse(`unexpected key '${key}' in '${field}'${didYouMean(key, Object.keys(mountFieldNames))}`);
    }
    if (key === "from" && /\$./.test(raw ?? "")) {
      refuse("'from' doesn't support variable expansion, define alias stage instead");
    }
    const value = raw === undefined ? "true" : (options?.expand(raw) ?? raw);
    const known = options !== undefined || !value.includes("$");
    if (known) checkField(key, value, refuse);
    const negated = key === "readwrite" || key === "rw";
    fields.set(name, known && negated ? String(parseBool(value) !== true) : value);
  }
  return fields;
}

function toMount(fields: Fields, position: Position): RunMount {
  const type = (fields.get("type") ?? "").toLowerCase();
  const refuse = (message: string): never => {
    throw new DockerfileFault(message, position);
  };
  checkTogether(fields, type, refuse);
  const target = fields.get("target") ?? "";
  const isOn = (name: string): boolean => parseBool(fields.get(name) ?? "") ?? false;
  const readOnly = fields.has("readonly") ? isOn("readonly") : type !== "cache" && type !== "tmpfs";
  const source = posix.join("/", fields.get("source") ?? "");
  const origin = fields.get("from") ? { from: fields.get("from") ?? "" } : {};
  switch (type) {
    case "cache": {
      const sharing = (fields.get("sharing") ?? "shared").toLowerCase() as CacheMount["sharing"];
      const id = fields.get("id") || posix.normalize(target === "" ? "." : target);
      return { type, target, id, sharing, source, readOnly, ...origin, ...ownerOf(fields, 0o755) };
    }
    case "tmpfs": {
      const sizeBytes = parseMountSize(fields.get("size") ?? "0");
      return { type, target, readOnly, ...(sizeBytes ? { sizeBytes } : {}) };
    }
    case "secret":
      return toSecret(fields, isOn("required"));
    case "ssh":
      return { type, id: fields.get("id") || "default", target, required: isOn("required"), ...ownerOf(fields, 0o600) };
    default:
      return { type: "bind", target, source, readOnly, ...origin };
  }
}

function toSecret(fields: Fields, required: boolean): SecretMount {
  const written = fields.get("target") ?? "";
  const id = fields.get("source") || fields.get("id") || posix.basename(written);
  const env = fields.get("env");
  const target = written === "" && env === undefined ? `/run/secrets/${posix.basename(id)}` : written;
  return {
    type: "secret",
    id,
    required,
    ...(target === "" ? {} : { target }),
    ...(env === undefined ? {} : { env }),
    ...ownerOf(fields, 0o400),
  };
}

function ownerOf(fields: Fields, usualMode: number): MountOwner {
  const mode = fields.get("mode");
  return {
    mode: mode === undefined ? usualMode : Number.parseInt(mode, 8),
    uid: Number(fields.get("uid") ?? 0),
    gid: Number(fields.get("gid") ?? 0),
  };
}

function checkTogether(fields: Fields, type: string, refuse: (message: string) => never): void {
  const allowedFor: Record<string, readonly string[]> = { required: ["secret", "ssh"], size: ["tmpfs"] };
  for (const [key, allowed] of Object.entries(allowedFor)) {
    if (fields.has(key) && !allowed.includes(type)) refuse(`unexpected key '${key}' for mount type '${type}'`);
  }
  for (const key of ["mode", "uid", "gid"]) {
    if (fields.has(key) && (type === "bind" || type === "tmpfs"))
      refuse(`${key} not allowed for "${type}" type mounts`);
  }
  if (type === "secret") {
    const [source, target, id] = ["source", "target", "id"].map((name) => fields.get(name) || undefined);
    if (fields.has("from")) refuse("secret mount should not have a from");
    if (fields.has("sharing")) refuse("secret mount should not define sharing");
    if (!source && !target && !id) refuse("invalid secret mount. one of source, target required");
    if (source && id) refuse("both source and id can't be set");
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
