import type { CheckReport } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { print, printLine } from "../output.ts";

export const command: Command = {
  usage: "check [OPTIONS]",
  description: "Verify images, layers, blobs and records, and say what is wrong with them",
  details: `Every blob is hashed again, and the files of every layer are packed, or compared with the archive they came in.
The engine that works with the store looks: one is started where none runs, and an engine sweeps up leftovers when it starts.
Ends with 1 when something is wrong that was not mended.`,
  flags: [
    {
      name: "repair",
      kind: "bool",
      description: "Move what is broken away, and remove what nothing names",
    },
    { name: "format", kind: "string", description: `"json": print the report as JSON` },
  ],
  arguments: { min: 0, max: 0 },
  run: check,
};

async function check({ flags, client }: Invocation): Promise<number> {
  const format = flags.string("format");
  if (format !== "" && format !== "json") {
    const { UsageError } = await import("../usage-error.ts");
    throw new UsageError(`--format takes "json" here, not "${format}"`);
  }
  const engine = await client();
  const query = { repair: flags.bool("repair") || undefined };
  const report = await engine.post<CheckReport>("/vitrine/system/check", { query });
  if (format === "json") printLine(JSON.stringify(report));
  else print(textOf(report));
  return report.Findings.every(({ Mended }) => Mended) ? 0 : 1;
}

function textOf(report: CheckReport): string {
  const { Packed, Compared } = report.Layers;
  const layers = Compared > 0 ? `${Packed + Compared} (${Compared} compared with their archives)` : String(Packed);
  const findings = report.Findings.map(({ Kind, Subject, Problem, Remedy, CanMend, Mended, Failure }) => {
    const state = Mended ? "mended" : Failure ? `not mended, since ${Failure}` : CanMend ? "to be mended" : "left";
    return `${Kind} ${Subject}\n    ${Problem}\n    ${state}: it ${Remedy}\n`;
  });
  const left = report.Findings.filter(({ Mended }) => !Mended);
  const mendable = left.filter(({ CanMend }) => CanMend).length;
  const hint = mendable > 0 ? `; --repair mends ${mendable} of them` : "";
  const end = left.length === 0 ? "Nothing is wrong.\n" : `Wrong: ${left.length}${hint}.\n`;
  return (
    `Blobs: ${report.Blobs}\nLayers: ${layers}\nImages: ${report.Images}\nContainers: ${report.Containers}\n` +
    `Volumes: ${report.Volumes}\n${findings.join("")}${end}`
  );
}
