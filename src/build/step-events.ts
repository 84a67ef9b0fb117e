import type { OperationId } from "./operation.ts";

/** What happens to the steps of one stage, in their order. A renderer turns it into lines for people. */
export type StepEvent =
  | { readonly type: "step"; readonly number: number; readonly total: number; readonly title: string }
  | { readonly type: "note"; readonly text: string }
  /** From here to its `operationDone` the step waits for an operation, whose logs belong here. */
  | { readonly type: "operation"; readonly vertex: OperationId }
  | { readonly type: "operationDone"; readonly vertex: OperationId }
  | { readonly type: "cached" }
  /** A container that is made and not run. */
  | { readonly type: "container"; readonly id: string }
  | { readonly type: "containerRemoved"; readonly id: string }
  /** The image after a step; "" where there is none yet. */
  | { readonly type: "image"; readonly id: string }
  /** The stage has ended. */
  | { readonly type: "stage"; readonly imageId: string };
