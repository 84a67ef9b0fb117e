import { pathPart, readFrames } from "../../api/client/index.ts";
import type { ContainerInspect } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { writeBytes } from "../output.ts";
import { toTimestamp } from "../timestamps.ts";

export const command: Command = {
  usage: "logs [OPTIONS] CONTAINER",
  description: "Fetch the logs of a container",
  aliases: ["container logs", "logs"],
  flags: [
    { name: "details", kind: "bool", description: "Show extra details provided to logs" },
    { name: "follow", short: "f", kind: "bool", description: "Follow log output" },
    {
      name: "since",
      kind: "string",
      description: 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
    {
      name: "tail",
      short: "n",
      kind: "string",
      default: "all",
      description: "Number of lines to show from the end of the logs",
    },
    { name: "timestamps", short: "t", kind: "bool", description: "Show timestamps" },
    {
      name: "until",
      kind: "string",
      description: 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
  ],
  arguments: { min: 1, max: 1 },
  run: showLogs,
};

async function showLogs({ flags, args, client }: Invocation): Promise<number> {
  const engine = await client();
  const { Id: id, Config } = await engine.get<ContainerInspect>(`/containers/${pathPart(args[0] ?? "")}/json`);
  const answer = await engine.call("GET", `/containers/${pathPart(id)}/logs`, {
    query: {
      stdout: true,
      stderr: true,
      follow: flags.bool("follow") || undefined,
      details: flags.bool("details") || undefined,
      timestamps: flags.bool("timestamps") || undefined,
      since: toTimestamp(flags.string("since"), "since"),
      until: toTimestamp(flags.string("until"), "until"),
      tail: flags.string("tail"),
    },
  });
  if (Config.Tty) {
    for await (const chunk of answer.body) await writeBytes("stdout", chunk);
    return 0;
  }
  for await (const { stream, data } of readFrames(answer.body)) await writeBytes(stream, data);
  return 0;
}
