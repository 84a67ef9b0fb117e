import type { CopyInstruction } from "./instruction.ts";
import { flagValue } from "./instruction.ts";
import { parseModeChange, type ModeChange } from "./mode-change.ts";

/** Flags of COPY and ADD, as values. A switch that was not written is undefined where its default depends on the source. */
export interface CopyOptions {
  /** A stage by name or number, an image, or a named context. */
  readonly from?: string;
  /** `user[:group]`, names or numbers. */
  readonly chown?: string;
  readonly chmod?: ModeChange;
  readonly link: boolean;
  readonly parents: boolean;
  /** Patterns as in .dockerignore, relative to each source. */
  readonly exclude: readonly string[];
  /** `sha256:…` of what ADD fetches, or a commit. */
  readonly checksum?: string;
  readonly keepGitDir?: boolean;
  /** Without it, archives of the context are unpacked and fetched ones are not. */
  readonly unpack?: boolean;
}

/** The flags of an instruction whose variables are replaced. Throws an Error with Docker's words. */
export function copyOptions(instruction: CopyInstruction): CopyOptions {
  const text = (name: string): string | undefined => flagValue(instruction, name) || undefined;
  const isOn = (name: string): boolean | undefined => {
    const value = flagValue(instruction, name);
    return value === undefined ? undefined : value === "true";
  };
  const [from, chown, chmod, checksum] = ["from", "chown", "chmod", "checksum"].map(text);
  const [keepGitDir, unpack] = ["keep-git-dir", "unpack"].map(isOn);
  return {
    link: isOn("link") ?? false,
    parents: isOn("parents") ?? false,
    exclude: instruction.flags.filter((flag) => flag.name === "exclude").map((flag) => flag.value),
    ...(from === undefined ? {} : { from }),
    ...(chown === undefined ? {} : { chown }),
    ...(chmod === undefined ? {} : { chmod: parseModeChange(chmod) }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(unpack === undefined ? {} : { unpack }),
  };
}
