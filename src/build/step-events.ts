/** What a build does, as it does it. A renderer turns it into lines for people. */
export type StepEvent =
  | { readonly type: "step"; readonly number: number; readonly total: number; readonly title: string }
  | { readonly type: "note"; readonly text: string }
  | { readonly type: "cached" }
  | { readonly type: "container"; readonly id: string }
  | { readonly type: "output"; readonly stream: "stdout" | "stderr"; readonly data: Uint8Array }
  | { readonly type: "containerRemoved"; readonly id: string }
  /** The image after a step; "" where there is none yet. */
  | { readonly type: "image"; readonly id: string }
  | { readonly type: "stage"; readonly imageId: string };
