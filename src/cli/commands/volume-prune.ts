import type { Command } from "../command.ts";
import { forceFlag } from "../common-flags.ts";
import { confirmUnlessForced } from "../confirm.ts";
import { encodeFilters } from "../filters.ts";
import { printPruned } from "../prune-report.ts";

export const command: Command = {
  usage: "prune [OPTIONS]",
  description: "Remove unused local volumes",
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Remove all unused volumes, not just anonymous ones" },
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "label=<label>")' },
    forceFlag,
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const all = flags.bool("all");
    const which = all ? "all local volumes" : "anonymous local volumes";
    if (!(await confirmUnlessForced(flags, `This will remove ${which} not used by at least one container.`))) return 0;
    const engine = await client();
    const query = { filters: encodeFilters(flags.list("filter"), all ? { all: "1" } : {}) };
    const report = await engine.post<{ VolumesDeleted?: string[] | null; SpaceReclaimed: number }>("/volumes/prune", {
      query,
    });
    const lines = report.VolumesDeleted ?? [];
    printPruned({ heading: "Deleted Volumes", lines, spaceReclaimed: report.SpaceReclaimed });
    return 0;
  },
};
