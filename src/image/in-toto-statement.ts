/** What a statement is about: the image, by the digest of its manifest. */
export interface StatementSubject {
  /** A package URL of the name it was given, or `_` where it has none. */
  readonly name: string;
  /** `sha256:<hex>` */
  readonly digest: string;
}

/** An in-toto attestation statement (in-toto attestation framework, "Statement"). */
export interface InTotoStatement {
  readonly _type: string;
  readonly predicateType: string;
  readonly subject: readonly { readonly name: string; readonly digest: Readonly<Record<string, string>> }[];
  readonly predicate: object;
}

export const predicateTypes = {
  spdx: "https://spdx.dev/Document",
  provenance02: "https://slsa.dev/provenance/v0.2",
  provenance1: "https://slsa.dev/provenance/v1",
} as const;

/** The statement that says `predicate` of each subject. */
export function statement(
  predicateType: string,
  { subjects, predicate }: { subjects: readonly StatementSubject[]; predicate: object },
): InTotoStatement {
  return {
    _type: "https://in-toto.io/Statement/v1",
    predicateType,
    subject: subjects.map(({ name, digest }) => {
      const [algorithm = "sha256", hex = ""] = digest.split(":", 2);
      return { name, digest: { [algorithm]: hex } };
    }),
    predicate,
  };
}
