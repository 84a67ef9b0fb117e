/** Wrong use of the command line: printed as it is. `exitCode` is docker's: 125 for flags, 1 for arguments. */
export class UsageError extends Error {
  readonly exitCode: number;
  /** How the hint at the help text begins; docker's own choice differs by the kind of mistake. */
  readonly hint: "Run" | "See";

  constructor(message: string, exitCode = 1, hint: "Run" | "See" = "Run") {
    super(message);
    this.name = "UsageError";
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** A command that cannot do what was asked: printed as it is, exit code 1, with no hint at the help text. */
export class CommandFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CommandFailure";
  }
}
