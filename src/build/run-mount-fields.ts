// Fields of RUN --mount: their names, and what each may hold (Dockerfile reference, "RUN --mount").
import { parseSize } from "../common/index.ts";
import { quote } from "./characters.ts";
import { didYouMean } from "./suggest.ts";

/** Every key that may be written, and the field that it sets. */
export const mountFieldNames: Readonly<Record<string, string>> = {
  type: "type",
  from: "from",
  source: "source",
  src: "source",
  target: "target",
  dst: "target",
  destination: "target",
  readonly: "readonly",
  ro: "readonly",
  readwrite: "readonly",
  rw: "readonly",
  required: "required",
  size: "size",
  id: "id",
  sharing: "sharing",
  mode: "mode",
  uid: "uid",
  gid: "gid",
  env: "env",
};

/** Keys that may stand without a value. */
export const mountSwitches: ReadonlySet<string> = new Set(["readonly", "ro", "readwrite", "rw", "required"]);

const types = ["bind", "cache", "tmpfs", "secret", "ssh"];
const sharings = ["shared", "private", "locked"];

/** Go's strconv.ParseBool; undefined for any other text. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|[tT]|TRUE|true|True)$/.test(text)) return true;
  return /^(0|[fF]|FALSE|false|False)$/.test(text) ? false : undefined;
}

/** Bytes; undefined for what is no size. */
export function parseMountSize(text: string): number | undefined {
  try {
    return parseSize(text);
  } catch {
    return undefined;
  }
}

/** Refuses a value that its key cannot have, with Docker's words. */
export function checkField(key: string, value: string, refuse: (message: string) => never): void {
  const lower = value.toLowerCase();
  if (key === "type" && !types.includes(lower)) {
    refuse(`unsupported mount type ${quote(value)}${didYouMean(value, types)}`);
  }
  if (key === "sharing" && !sharings.includes(lower)) {
    refuse(`unsupported sharing value ${quote(value)}${didYouMean(value, sharings)}`);
  }
  if (mountSwitches.has(key) && parseBool(value) === undefined) refuse(`invalid value for ${key}: ${value}`);
  if (key === "mode" && !(/^[0-7]{1,11}$/.test(value) && Number.parseInt(value, 8) < 2 ** 32)) {
    refuse(`invalid value ${value} for mode`);
  }
  if ((key === "uid" || key === "gid") && !(/^\d{1,10}$/.test(value) && Number(value) < 2 ** 32)) {
    refuse(`invalid value ${value} for ${key}`);
  }
  if (key === "size" && parseMountSize(value) === undefined) refuse(`invalid value for size: ${value}`);
}
