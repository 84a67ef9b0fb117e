import { localUnions } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { print } from "../output.ts";
import { alignColumns } from "../tabwriter.ts";
import { UsageError } from "../usage-error.ts";

export const command: Command = {
  usage: "union RW RO [RO...] TARGET\nunion --list [TARGET]\nunion --unmount TARGET",
  description: "Mount several folders of this machine as one, the way a container's layers are",
  details: `The first folder is the read-write branch: its files hide those of the others, and every write goes to it.
Works on this machine, as root and without the daemon.`,
  flags: [
    {
      name: "list",
      short: "l",
      kind: "bool",
      description: "List the branches of a union, or of all, as the kernel tells them",
    },
    { name: "unmount", short: "u", kind: "bool", description: "Unmount a union; its branches keep what they have" },
  ],
  arguments: { min: 0 },
  run: union,
};

async function union({ flags, args }: Invocation): Promise<number> {
  const { listUnions, mountUnion, unionAt, unmountUnion } = await localUnions();
  const [list, unmount] = [flags.bool("list"), flags.bool("unmount")];
  if (list && unmount) throw new UsageError("--list and --unmount cannot be given together");
  if (list) {
    if (args.length > 1) throw new UsageError("--list takes one target, or none for all");
    const unions = args[0] === undefined ? listUnions() : [unionAt(args[0])];
    const rows = unions.flatMap(({ target, branches }) => branches.map((one) => [target, one.mode, one.directory]));
    const lines = [["TARGET", "BRANCH", "DIRECTORY"], ...rows].map((cells) => `${cells.join("\t")}\n`);
    print(alignColumns(lines.join(""), { minWidth: 4 }));
    return 0;
  }
  if (process.getuid?.() !== 0) throw new UsageError("mounting is for root");
  if (unmount) {
    const [target, ...more] = args;
    if (target === undefined || more.length > 0) throw new UsageError("--unmount takes one target");
    unmountUnion(target);
    return 0;
  }
  const target = args.at(-1) ?? "";
  const branches = args.slice(0, -1);
  if (branches.length < 2) {
    throw new UsageError(
      `a union needs a read-write branch, a read-only one and a target, and ${args.length} names were given`,
    );
  }
  mountUnion({ branches, target });
  return 0;
}
