import type { BuildStatus } from "../api/client/index.ts";

/** Draws what a build tells; `end` leaves it as it is. */
export interface ProgressRenderer {
  take(status: BuildStatus): void;
  end(): void;
}
