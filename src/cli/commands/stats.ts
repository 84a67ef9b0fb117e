import { type ApiClient, pathPart } from "../../api/client/index.ts";
import type { ContainerSummary } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { formatFlag } from "../common-flags.ts";
import { renderListing } from "../listing.ts";
import { print } from "../output.ts";
import { type Sample, statsHeaders, statsRow } from "../stats-row.ts";

export const command: Command = {
  usage: "stats [OPTIONS] [CONTAINER...]",
  description: "Display a live stream of container(s) resource usage statistics",
  aliases: ["container stats", "stats"],
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Show all containers (default shows just running)" },
    formatFlag,
    { name: "no-stream", kind: "bool", description: "Disable streaming stats and only pull the first result" },
    { name: "no-trunc", kind: "bool", description: "Do not truncate output" },
  ],
  arguments: { min: 0 },
  run: showStats,
};

const table = String.raw`{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`;
const drawEveryMs = 500;
/** Containers that were started meanwhile appear after at most this time. */
const listEveryMs = 1000;

async function showStats({ flags, args, client }: Invocation): Promise<number> {
  const engine = await client();
  const format = flags.string("format");
  const truncate = !flags.bool("no-trunc");
  const render = (samples: Iterable<Sample>): Promise<string> =>
    renderListing({
      format,
      table,
      headers: statsHeaders,
      rows: [...samples].map((sample) => statsRow(sample, truncate)),
    });
  const list = (): Promise<string[]> => containerIds(engine, { named: args, all: flags.bool("all") });
  // A bad format is told before anything is asked for.
  await render([]);
  if (flags.bool("no-stream")) {
    const ids = await list();
    print(await render(await Promise.all(ids.map((id) => readOnce(engine, id)))));
    return 0;
  }
  return await live(engine, { list, render, isTable: format === "" || format.startsWith("table") });
}

async function containerIds(engine: ApiClient, options: { named: readonly string[]; all: boolean }): Promise<string[]> {
  if (options.named.length > 0) return [...options.named];
  const containers = await engine.get<ContainerSummary[]>("/containers/json", { all: options.all || undefined });
  return containers.map((container) => container.Id);
}

async function readOnce(engine: ApiClient, container: string): Promise<Sample> {
  // Not one-shot: the engine waits for a second reading, without which there is no share of the CPU.
  const stats = await engine.get<Sample["stats"]>(`/containers/${pathPart(container)}/stats`, { stream: false });
  return { container, stats };
}

async function live(
  engine: ApiClient,
  view: { list(): Promise<string[]>; render(samples: Iterable<Sample>): Promise<string>; isTable: boolean },
): Promise<number> {
  const samples = new Map<string, Sample>();
  const watched = new Set<string>();
  let failure: unknown;
  const watch = async (container: string): Promise<void> => {
    watched.add(container);
    const path = `/containers/${pathPart(container)}/stats`;
    for await (const stats of engine.lines<Sample["stats"]>("GET", path, { query: { stream: true } })) {
      samples.set(container, { container, stats });
    }
    samples.delete(container);
    watched.delete(container);
  };
  for (let listedAt = 0; failure === undefined; await Bun.sleep(drawEveryMs)) {
    if (performance.now() - listedAt > listEveryMs || listedAt === 0) {
      for (const id of await view.list())
        if (!watched.has(id)) watch(id).catch((thrown: unknown) => (failure = thrown));
      listedAt = performance.now();
    }
    const text = await view.render(samples.values());
    // Draws over what was there: home, each line cleared to its end, the rest of the screen cleared.
    print(process.stdout.isTTY ? `\x1b[H${text.replaceAll("\n", "\x1b[K\n")}\x1b[J` : text);
  }
  throw failure;
}
