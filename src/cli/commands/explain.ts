import { type ApiClient, isEngineRefusal, pathPart } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { containerFlags } from "../container-flags.ts";
import { toCreateRequest } from "../container-request/index.ts";
import { print } from "../output.ts";
import { type PlanAnswer, planText } from "../plan-text.ts";

export const command: Command = {
  usage: "explain [OPTIONS] IMAGE|CONTAINER [COMMAND] [ARG...]",
  description: "Show each kernel call that starts a container, with its reason",
  details: `For a container: the plan with which it was, or will be, started. For an image: the plan that
'vitrine run' with the same options would execute; nothing is started.`,
  flags: [
    { name: "script", kind: "bool", description: "Print a shell script that does the same" },
    { name: "format", kind: "string", description: "'json': print the ops in JSON format" },
    ...containerFlags,
  ],
  arguments: { min: 1 },
  interspersed: false,
  run: explain,
};

async function explain({ flags, args, client }: Invocation): Promise<number> {
  const engine = await client();
  const answer =
    (args.length === 1 ? await planOfContainer(engine, args[0] ?? "") : undefined) ??
    (await engine.post<PlanAnswer>("/vitrine/explain", { body: toCreateRequest(flags, args) }));
  if (flags.bool("script")) print(answer.script.endsWith("\n") ? answer.script : `${answer.script}\n`);
  else if (flags.string("format") === "json") print(`${JSON.stringify(answer.ops, undefined, 2)}\n`);
  else print(planText(answer.ops));
  return 0;
}

async function planOfContainer(engine: ApiClient, name: string): Promise<PlanAnswer | undefined> {
  try {
    return await engine.get<PlanAnswer>(`/vitrine/containers/${pathPart(name)}/plan`);
  } catch (thrown) {
    if (isEngineRefusal(thrown) && thrown.code === "notFound") return undefined;
    throw thrown;
  }
}
