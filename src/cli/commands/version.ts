import type { ApiClient } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { objectFormatFlag } from "../common-flags.ts";
import { print, printError } from "../output.ts";
import { vitrineVersion } from "../../common/index.ts";

export const command: Command = {
  usage: "version [OPTIONS]",
  description: "Show the Vitrine version information",
  flags: [
    objectFormatFlag,
    { name: "client", kind: "bool", description: "Show the client's version only, asking no engine" },
  ],
  arguments: { min: 0, max: 0 },
  run: showVersion,
};

interface ServerVersion {
  readonly Platform?: { Name?: string };
  readonly Components?: { Name: string; Version: string; Details?: Record<string, string> | null }[];
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion?: string;
  readonly Os: string;
  readonly Arch: string;
}

interface ClientVersion {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly DefaultAPIVersion: string;
  readonly Runtime: string;
  readonly Os: string;
  readonly Arch: string;
}

// The newest API version that api/client speaks; named here so that `--client` need not load the client.
const clientApiVersion = "1.51";

async function showVersion({ flags, client }: Invocation): Promise<number> {
  const format = flags.string("format");
  if (flags.bool("client") && format === "") {
    print(clientText(clientVersion(clientApiVersion)));
    return 0;
  }
  let server: ServerVersion | undefined;
  let failure: unknown;
  let engine: ApiClient | undefined;
  if (!flags.bool("client")) {
    try {
      engine = await client();
      server = await engine.get<ServerVersion>("/version");
    } catch (thrown) {
      failure = thrown;
    }
  }
  const own = clientVersion(server && engine ? await engine.apiVersion() : clientApiVersion);
  if (format !== "") await printFormatted(format, { Client: own, Server: server ?? null });
  else print(clientText(own) + (server ? `\n${serverText(server)}` : ""));
  if (failure === undefined) return 0;
  const { describeFailure } = await import("../each-argument.ts");
  printError(`${describeFailure(failure)}\n`);
  return 1;
}

function clientVersion(apiVersion: string): ClientVersion {
  return {
    Version: vitrineVersion,
    ApiVersion: apiVersion,
    DefaultAPIVersion: clientApiVersion,
    Runtime: `Bun ${Bun.version}`,
    Os: process.platform,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
  };
}

function clientText(client: ClientVersion): string {
  const downgraded =
    client.ApiVersion === client.DefaultAPIVersion ? "" : ` (downgraded from ${client.DefaultAPIVersion})`;
  return `Client:
 Version:           ${client.Version}
 API version:       ${client.ApiVersion}${downgraded}
 Runtime:           ${client.Runtime}
 OS/Arch:           ${client.Os}/${client.Arch}
`;
}

function serverText(server: ServerVersion): string {
  const line = (name: string, value: string): string => `  ${`${name}:`.padEnd(17)} ${value}\n`;
  const platform = server.Platform?.Name ? ` ${server.Platform.Name}` : "";
  let text = `Server:${platform}\n`;
  const components = server.Components ?? [{ Name: "Engine", Version: server.Version, Details: null }];
  for (const { Name, Version, Details } of components) {
    text += ` ${Name}:\n${line("Version", Version)}`;
    if (Name === "Engine") {
      text += line(
        "API version",
        `${server.ApiVersion} (minimum version ${server.MinAPIVersion ?? server.ApiVersion})`,
      );
      text += line("OS/Arch", `${server.Os}/${server.Arch}`);
    }
    const told = /^(ApiVersion|MinAPIVersion|Os|Arch|Version)$/;
    for (const [key, value] of Object.entries(Details ?? {})) if (!told.test(key)) text += line(key, value);
  }
  return text;
}

async function printFormatted(format: string, data: Readonly<Record<string, unknown>>): Promise<void> {
  const { renderObject } = await import("../render-object.ts");
  print(`${await renderObject(format, data)}\n`);
}
