import type { Command } from "../command.ts";
import { forceFlag } from "../common-flags.ts";
import { confirmUnlessForced } from "../confirm.ts";
import { encodeFilters } from "../filters.ts";
import { imageDeletions, printPruned } from "../prune-report.ts";

export const command: Command = {
  usage: "prune [OPTIONS]",
  description: "Remove unused images",
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Remove all unused images, not just dangling ones" },
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "until=<timestamp>")' },
    forceFlag,
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const all = flags.bool("all");
    const what = all ? "all images without at least one container associated to them" : "all dangling images";
    if (!(await confirmUnlessForced(flags, `This will remove ${what}.`))) return 0;
    const engine = await client();
    const query = { filters: encodeFilters(flags.list("filter"), { dangling: all ? "false" : "true" }) };
    const report = await engine.post<{
      ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
      SpaceReclaimed: number;
    }>("/images/prune", { query });
    const lines = imageDeletions(report.ImagesDeleted);
    printPruned({ heading: "Deleted Images", lines, spaceReclaimed: report.SpaceReclaimed });
    return 0;
  },
};
