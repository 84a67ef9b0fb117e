import { pathPart } from "../../api/client/index.ts";
import type { Command } from "../command.ts";
import { print } from "../output.ts";

interface Step {
  readonly step: number;
  readonly title: string;
  readonly cached: boolean;
  readonly changed: readonly string[];
}

export const command: Command = {
  usage: "why IMAGE",
  description: "Tell why each step of an image's build was cached or not",
  aliases: ["why"],
  flags: [],
  arguments: { min: 1, max: 1 },
  async run({ args, client }) {
    const engine = await client();
    const { Steps } = await engine.get<{ Steps: Step[] }>(`/vitrine/images/${pathPart(args[0] ?? "")}/why`);
    for (const { step, title, cached, changed } of Steps) {
      print(`Step ${step}: ${cached ? "cached" : "ran"}: ${title}\n`);
      for (const sentence of changed) print(`    ${sentence}\n`);
    }
    return 0;
  },
};
