import type { Command } from "../command.ts";
import { forceFlag } from "../common-flags.ts";
import { confirmUnlessForced } from "../confirm.ts";
import { encodeFilters } from "../filters.ts";
import { printPruned } from "../prune-report.ts";

export const command: Command = {
  usage: "prune [OPTIONS]",
  description: "Remove all stopped containers",
  flags: [
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "until=<timestamp>")' },
    forceFlag,
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    if (!(await confirmUnlessForced(flags, "This will remove all stopped containers."))) return 0;
    const engine = await client();
    const query = { filters: encodeFilters(flags.list("filter")) };
    const report = await engine.post<{ ContainersDeleted?: string[] | null; SpaceReclaimed: number }>(
      "/containers/prune",
      { query },
    );
    const lines = report.ContainersDeleted ?? [];
    printPruned({ heading: "Deleted Containers", lines, spaceReclaimed: report.SpaceReclaimed });
    return 0;
  },
};
