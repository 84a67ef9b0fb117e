import { readFileSync } from "node:fs";
import { UsageError } from "../usage-error.ts";

export interface Security {
  readonly options: string[];
  /** Set (to empty) by `systempaths=unconfined`. */
  readonly maskedPaths: string[] | undefined;
  readonly readonlyPaths: string[] | undefined;
}

/** `--security-opt`: a seccomp profile's file is read here, since the engine may be elsewhere. */
export function parseSecurity(flags: readonly string[]): Security {
  const unconfined = flags.includes("systempaths=unconfined");
  const options = flags.filter((option) => option !== "systempaths=unconfined").map(readOption);
  return { options, maskedPaths: unconfined ? [] : undefined, readonlyPaths: unconfined ? [] : undefined };
}

function readOption(option: string): string {
  const match = /^([^=:]*)[=:](.*)$/s.exec(option);
  const key = match?.[1] ?? option;
  const value = match?.[2] ?? "";
  if (key === "no-new-privileges") return option;
  if (value === "") throw new UsageError(`Invalid --security-opt: ${JSON.stringify(option)}`);
  if (key !== "seccomp" || value === "builtin" || value === "unconfined") return option;
  let text: string;
  try {
    text = readFileSync(value, "utf8");
  } catch (thrown) {
    const reason =
      (thrown as { code?: string }).code === "ENOENT" ? "no such file or directory" : (thrown as Error).message;
    throw new UsageError(`opening seccomp profile (${value}) failed: open ${value}: ${reason}`);
  }
  try {
    return `seccomp=${JSON.stringify(JSON.parse(text))}`;
  } catch (thrown) {
    throw new UsageError(`compacting json for seccomp profile (${value}) failed: ${(thrown as Error).message}`);
  }
}
