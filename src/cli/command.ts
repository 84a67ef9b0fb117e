import type { ApiClient } from "../api/client/index.ts";
import type { FlagValues } from "./flag-values.ts";

/** How a flag's text is checked; the names are pflag's, which help texts show. */
export type FlagKind =
  | "bool"
  | "string"
  | "list"
  | "strings"
  | "map"
  | "int"
  | "uint16"
  | "bytes"
  | "duration"
  | "decimal"
  | "filter"
  | "ulimit"
  | "mount"
  | "network"
  | "pem";

export interface Flag {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  readonly description: string;
  /** What the help text says and the value that an absent flag has. */
  readonly default?: string | number | boolean;
  /** Another name for the same flag, left out of the help text: `net` for `network`. */
  readonly alias?: string;
  /** Parsed, but left out of the help text. */
  readonly hidden?: boolean;
  /** Throws when the value cannot be the flag's; the message follows the flag's name. */
  readonly check?: (text: string) => unknown;
  /** What help calls the value, instead of the kind. */
  readonly valueName?: string;
}

/** How many arguments a command takes. */
export interface ArgumentRule {
  readonly min: number;
  /** undefined: any number */
  readonly max?: number;
}

/** One call of a command: what was typed, and the way to the engine. */
export interface Invocation {
  readonly flags: FlagValues;
  readonly args: readonly string[];
  /** `vitrine run`, as it was typed: for messages. */
  readonly commandPath: string;
  /** Connects on first use; starts the daemon where the design says so. */
  client(): Promise<ApiClient>;
}

/**
 * A command's declaration. Its file exports it as `command`; the module is loaded only when the command is called.
 * `run` gives the exit code; what it throws is printed as one sentence with exit code 1.
 */
export interface Command {
  /** Without the program's name: `rm [OPTIONS] CONTAINER [CONTAINER...]`. */
  readonly usage: string;
  readonly description: string;
  /** More paragraphs of the help text, after the description. */
  readonly details?: string;
  /** The other spellings, `container rm, container remove, rm`. */
  readonly aliases?: readonly string[];
  readonly flags: readonly Flag[];
  readonly arguments: ArgumentRule;
  /** False: flags after the first argument belong to the container. */
  readonly interspersed?: boolean;
  /** The exit code for a UsageError that `run` throws, with a hint at the help text: 125 for run and create. */
  readonly failureCode?: number;
  run(invocation: Invocation): Promise<number>;
}
