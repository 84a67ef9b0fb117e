/** Wrong use of the command line: printed as it is. `exitCode` is docker's: 125 for flags, 1 for arguments. */
export class UsageError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = "UsageError";
    this.exitCode = exitCode;
  }
}
