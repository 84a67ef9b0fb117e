import { readFileSync } from "node:fs";
import { UsageError } from "../usage-error.ts";

/** `K=V` as it is; `K` alone takes the client's own variable, and stays `K` (which unsets it) where there is none. */
export function resolveVariable(text: string): string {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  if (name === "") throw new UsageError(`invalid environment variable: ${text}`);
  const value = process.env[name];
  return equals >= 0 || value === undefined ? text : `${text}=${value}`;
}

/** The variables of `--env-file`s, then those of `--env`. A file's line is `K=V` or `K`, `#` begins a comment line. */
export function readVariables(files: readonly string[], flags: readonly string[]): string[] {
  const fromFiles = files.flatMap((path) => readKeyValueFile(path, resolveOwn));
  return [...fromFiles, ...flags.map(resolveVariable)];
}

/** The labels of `--label-file`s, then those of `--label`, as a map. A file's line without `=` is no label, as with docker. */
export function readLabels(files: readonly string[], flags: readonly string[]): Record<string, string> {
  return toMap([...files.flatMap((path) => readKeyValueFile(path, () => undefined)), ...flags]);
}

/** `k=v` texts as a map; without `=` the value is empty. The last one of a key counts. */
export function toMap(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf("=");
      return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

function resolveOwn(name: string): string | undefined {
  const value = process.env[name];
  return value === undefined ? undefined : `${name}=${value}`;
}

function readKeyValueFile(path: string, resolve: (name: string) => string | undefined): string[] {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path)).replace(/^\uFEFF/, "");
  } catch (thrown) {
    if ((thrown as { code?: string }).code === "ENOENT")
      throw new UsageError(`open ${path}: no such file or directory`);
    throw new UsageError(`invalid env file (${path}): ${(thrown as Error).message}`);
  }
  return text.split(/\r?\n/).flatMap((line, index) => {
    const trimmed = line.trimStart();
    if (trimmed === "" || trimmed.startsWith("#")) return [];
    const equals = trimmed.indexOf("=");
    const name = equals < 0 ? trimmed : trimmed.slice(0, equals);
    if (name === "") throw new UsageError(`invalid env file (${path}): no variable name on line '${trimmed}'`);
    if (/[ \t]/.test(name) && equals >= 0) {
      throw new UsageError(`invalid env file (${path}): variable '${name}' contains whitespaces on line ${index + 1}`);
    }
    if (equals >= 0) return [trimmed];
    const own = resolve(name.trim());
    return own === undefined ? [] : [own];
  });
}
