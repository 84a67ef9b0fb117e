import type { Core } from "./core.ts";

/** Docker's event after a prune: of no object, with the bytes that it gave back. */
export function publishPrune(
  { events }: Pick<Core, "events">,
  type: "container" | "image" | "volume" | "network" | "builder",
  spaceReclaimed: number,
): void {
  events.publish(type, "prune", { id: "", attributes: { reclaimed: String(spaceReclaimed) } });
}
