import { pathPart } from "../../api/client/index.ts";
import type { ContainerInspect, PortBinding } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { print } from "../output.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "port CONTAINER [PRIVATE_PORT[/PROTO]]",
  description: "List port mappings or a specific mapping for the container",
  aliases: ["container port", "port"],
  flags: [],
  arguments: { min: 1, max: 2 },
  run: showPorts,
};

async function showPorts({ args, client }: Invocation): Promise<number> {
  const [name = "", wanted] = args;
  const engine = await client();
  const { NetworkSettings } = await engine.get<ContainerInspect>(`/containers/${pathPart(name)}/json`);
  const ports = Object.entries(NetworkSettings.Ports ?? {}).sort(([left], [right]) => parseInt(left) - parseInt(right));
  if (wanted === undefined) {
    const lines = ports.flatMap(([port, bindings]) => (bindings ?? []).map((to) => `${port} -> ${hostText(to)}\n`));
    print(lines.join(""));
    return 0;
  }
  if (!/^\d+(\/\w+)?$/.test(wanted)) throw new CommandFailure(`Error: invalid port (${wanted}): must be a number`);
  const key = wanted.includes("/") ? wanted : `${wanted}/tcp`;
  const bindings = ports.find(([port]) => port === key)?.[1];
  if (!bindings) throw new CommandFailure(`Error: No public port '${wanted}' published for ${name}`);
  print(bindings.map((binding) => `${hostText(binding)}\n`).join(""));
  return 0;
}

function hostText({ HostIp = "", HostPort = "" }: PortBinding): string {
  return `${HostIp.includes(":") ? `[${HostIp}]` : HostIp}:${HostPort}`;
}
