/** Where a node stands and how it reads, for Go's error messages. */
export interface Position {
  readonly line: number;
  readonly column: number;
  readonly source: string;
}

export type Operand = { readonly at: Position } & (
  | { readonly kind: "dot" }
  | { readonly kind: "nil" }
  | { readonly kind: "literal"; readonly value: string | number | boolean }
  | { readonly kind: "field"; readonly names: readonly string[] }
  | { readonly kind: "variable"; readonly name: string; readonly names: readonly string[] }
  | { readonly kind: "call"; readonly name: string }
  | { readonly kind: "chain"; readonly base: Operand; readonly names: readonly string[] }
  | { readonly kind: "pipeline"; readonly pipeline: Pipeline }
);

/** A function, method or value with its arguments: `printf "%s" .Name`. */
export interface Call {
  readonly operands: readonly Operand[];
  readonly at: Position;
}

export interface Pipeline {
  readonly variables: readonly string[];
  readonly assigns: boolean;
  readonly calls: readonly Call[];
}

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "output"; readonly pipeline: Pipeline }
  | {
      readonly kind: "if" | "with" | "range";
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
      readonly at: Position;
    }
  | { readonly kind: "template"; readonly name: string; readonly pipeline: Pipeline | undefined; readonly at: Position }
  | { readonly kind: "break" | "continue" };

export interface Template {
  readonly body: readonly Node[];
  readonly named: ReadonlyMap<string, readonly Node[]>;
}
