import { type ApiClient, isEngineRefusal, pathPart } from "../../api/client/index.ts";
import { formatSize } from "../../common/index.ts";
import type { ImageHistoryItem, ImageInspect, Panorama } from "../../spec/index.ts";
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
    const rows = (await containerLayers(engine, name)) ?? (await imageLayers(engine, name));
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
    ...imageLayers.map((layer) => [
      "ro",
      formatSize(layer.sizeBytes, 3),
      layer.directory,
      ellipsis(layer.instruction, instructionColumns),
    ]),
  ];
}

async function imageLayers(engine: ApiClient, name: string): Promise<string[][]> {
  const { GraphDriver, RootFS } = await engine.get<ImageInspect>(`/images/${pathPart(name)}/json`);
  const history = await engine.get<ImageHistoryItem[]>(`/images/${pathPart(name)}/history`);
  const data = GraphDriver.Data ?? {};
  const directories = [data["UpperDir"], ...(data["LowerDir"]?.split(":") ?? [])].filter((path) => path !== undefined);
  const withFiles = history.filter((item) => item.Size > 0);
  // Only where every layer has bytes does the history tell which instruction made which directory.
  const told = withFiles.length === (RootFS.Layers ?? []).length;
  return directories.map((directory, index) => {
    const item = told ? withFiles[index] : undefined;
    const size = item ? formatSize(item.Size, 3) : "";
    return ["ro", size, directory, ellipsis(item?.CreatedBy ?? "", instructionColumns)];
  });
}
