import { writeFileSync } from "node:fs";
import { pathPart } from "../../api/client/index.ts";
import type { Panorama } from "../../spec/index.ts";
import type { Command } from "../command.ts";
import { print } from "../output.ts";
import { drawText } from "../panorama/draw-text.ts";
import { panoramaParts } from "../panorama/parts.ts";

export const command: Command = {
  usage: "panorama [OPTIONS] CONTAINER",
  description: "Draw a container: process, namespaces, limits, layers, volumes and ports",
  flags: [
    { name: "format", kind: "string", description: "'json': print the values instead of drawing them" },
    { name: "svg", kind: "string", valueName: "file", description: "Write the drawing to an SVG file" },
  ],
  arguments: { min: 1, max: 1 },
  async run({ flags, args, client }) {
    const engine = await client();
    const panorama = await engine.get<Panorama>(`/vitrine/containers/${pathPart(args[0] ?? "")}/panorama`);
    const file = flags.string("svg");
    if (file !== "") {
      const { drawSvg } = await import("../panorama/draw-svg.ts");
      writeFileSync(file, drawSvg(panoramaParts(panorama)));
    } else if (flags.string("format") === "json") {
      print(`${JSON.stringify(panorama, undefined, 2)}\n`);
    } else {
      print(drawText(panoramaParts(panorama), process.stdout.isTTY ? process.stdout.columns : undefined));
    }
    return 0;
  },
};
