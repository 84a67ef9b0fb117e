import { type ApiClient, isEngineRefusal, pathPart } from "../../api/client/index.ts";
import { formatSize } from "../../common/index.ts";
import type { Panorama } from "../../spec/index.ts";
import type { Command } from "../command.ts";
import { ellipsis } from "../display.ts";
import { print } from "../output.ts";
import { alignColumns } from "../tabwriter.ts";

export const command: Command = {
  usage: "layers CONTAINER|IMAGE",
  description: "List the layers of a container or image with their directories",
  details: "The top layer comes first: rw is the container's own, init the one that commit leaves out, ro the image's.",
  flags: [],
  arguments: { min: 1, max: 1 },
  async run({ args, client }) {
    const name = args[0] ?? "";
    const engine = await client();
    const rows = (await containerLayers(engine, name)) ?? (await imageRows(engine, name));
    const lines = [["BRANCH", "SIZE", "DIRECTORY", "INSTRUCTION"], ...rows].map((cells) => `${cells.join("\t")}\n`);
    print(alignColumns(lines.join(""), { minWidth: 4 }));
    return 0;
  },
};

const instructionColumns = 60;

async function containerLayers(engine: ApiClient, name: string): Promise<string[][] | undefined> {
  let panorama: Panorama;
  try {
    panorama = await engine.get<Panorama>(`/vitrine/containers/${pathPart(name)}/panorama`);
  } catch (thrown) {
    if (isEngineRefusal(thrown) && thrown.code === "notFound") return undefined;
    throw thrown;
  }
  const { readWriteLayer, initLayer, imageLayers } = panorama;
  return [
    ["rw", formatSize(readWriteLayer.sizeBytes, 3), readWriteLayer.directory, ""],
    ["init", "", initLayer.directory, ""],
    ...readOnlyRows(imageLayers),
  ];
}

async function imageRows(engine: ApiClient, name: string): Promise<string[][]> {
  return readOnlyRows(await engine.get<Panorama["imageLayers"]>(`/vitrine/images/${pathPart(name)}/layers`));
}

function readOnlyRows(layers: Panorama["imageLayers"]): string[][] {
  return layers.map((layer) => [
    "ro",
    formatSize(layer.sizeBytes, 3),
    layer.directory,
    ellipsis(layer.instruction, instructionColumns),
  ]);
}
