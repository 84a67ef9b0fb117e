/** Something in the store that is not as it should be, and how it would be mended. */
export interface Finding {
  readonly kind: "blob" | "layer" | "image" | "reference" | "record" | "orphan" | "volume" | "container" | "snapshot";
  /** Digest, chainID, name or path. */
  readonly subject: string;
  readonly problem: string;
  /** What a repair does, as a sentence's predicate; or what a person must do, where there is no `mend`. */
  readonly remedy: string;
  /** Absent where nothing can or need be done by itself. */
  readonly mend?: () => Promise<void> | void;
}
