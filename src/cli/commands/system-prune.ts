import { formatSize } from "../../common/index.ts";
import { isEngineRefusal } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { forceFlag } from "../common-flags.ts";
import { confirmUnlessForced } from "../confirm.ts";
import { encodeFilters } from "../filters.ts";
import { print } from "../output.ts";
import { imageDeletions } from "../prune-report.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "prune [OPTIONS]",
  description: "Remove unused data",
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Remove all unused images not just dangling ones" },
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "label=<key>=<value>")' },
    forceFlag,
    { name: "volumes", kind: "bool", description: "Prune anonymous volumes" },
  ],
  arguments: { min: 0, max: 0 },
  run: pruneAll,
};

interface Report {
  readonly SpaceReclaimed?: number;
  readonly ContainersDeleted?: string[] | null;
  readonly NetworksDeleted?: string[] | null;
  readonly VolumesDeleted?: string[] | null;
  readonly ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
  readonly CachesDeleted?: string[] | null;
}

async function pruneAll({ flags, client }: Invocation): Promise<number> {
  const [all, volumes] = [flags.bool("all"), flags.bool("volumes")];
  if (volumes && flags.list("filter").some((filter) => filter.startsWith("until=")))
    throw new CommandFailure('ERROR: The "until" filter is not supported with "--volumes"');
  const what = [
    "all stopped containers",
    "all networks not used by at least one container",
    ...(volumes ? ["all anonymous volumes not used by at least one container"] : []),
    all ? "all images without at least one container associated to them" : "all dangling images",
    all ? "all build cache" : "unused build cache",
  ];
  if (!(await confirmUnlessForced(flags, `This will remove:\n${what.map((line) => `  - ${line}\n`).join("")}`)))
    return 0;
  const engine = await client();
  const filters = flags.list("filter");
  const prune = async (path: string, more: Record<string, string> = {}): Promise<Report> => {
    try {
      return await engine.post<Report>(path, { query: { filters: encodeFilters(filters, more) } });
    } catch (thrown) {
      // An engine that has no such objects has nothing of them to remove.
      if (isEngineRefusal(thrown) && /^(notFound|unsupported)$/.test(thrown.code)) return {};
      throw thrown;
    }
  };
  const reports = [
    await prune("/containers/prune"),
    await prune("/networks/prune"),
    ...(volumes ? [await prune("/volumes/prune")] : []),
    await prune("/images/prune", { dangling: all ? "false" : "true" }),
    // What builds keep has no labels: none of it is meant.
    ...(filters.some((filter) => filter.startsWith("label")) ? [] : [await prune("/build/prune")]),
  ];
  const sections = reports.flatMap((report) => [
    section("Deleted Containers", report.ContainersDeleted),
    section("Deleted Networks", report.NetworksDeleted),
    section("Deleted Volumes", report.VolumesDeleted),
    section("Deleted Images", imageDeletions(report.ImagesDeleted)),
    section("Deleted build cache objects", report.CachesDeleted),
  ]);
  const space = reports.reduce((sum, report) => sum + (report.SpaceReclaimed ?? 0), 0);
  print(`${sections.join("")}Total reclaimed space: ${formatSize(space)}\n`);
  return 0;
}

function section(heading: string, lines: readonly string[] | null | undefined): string {
  return lines && lines.length > 0 ? `${heading}:\n${lines.join("\n")}\n\n` : "";
}
