import { formatSize } from "../common/index.ts";
import { print } from "./output.ts";

/** What a prune call deleted, under a heading, and how much space that freed. */
export function printPruned(report: { heading: string; lines: readonly string[]; spaceReclaimed: number }): void {
  const deleted = report.lines.length > 0 ? `${report.heading}:\n${report.lines.join("\n")}\n\n` : "";
  print(`${deleted}Total reclaimed space: ${formatSize(report.spaceReclaimed)}\n`);
}

/** The lines for removed images. */
export function imageDeletions(
  deleted: readonly { Untagged?: string; Deleted?: string }[] | null | undefined,
): string[] {
  return (deleted ?? []).map(({ Untagged, Deleted }) => (Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`));
}
