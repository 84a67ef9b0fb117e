/** What a check of the store found. `Layers`: verified by packing their files, and by comparing them with the archive they came in. */
export interface CheckReport {
  readonly Blobs: number;
  readonly Layers: { readonly Packed: number; readonly Compared: number };
  readonly Images: number;
  readonly Containers: number;
  readonly Volumes: number;
  readonly Findings: readonly {
    readonly Kind: string;
    /** Digest, chainID, name or path. */
    readonly Subject: string;
    readonly Problem: string;
    /** What a repair does, or a person must do, as a sentence's predicate. */
    readonly Remedy: string;
    readonly CanMend: boolean;
    readonly Mended: boolean;
    /** Why a repair did not succeed. */
    readonly Failure?: string;
  }[];
}
