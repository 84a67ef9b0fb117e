import { pathPart } from "../../api/client/index.ts";
import { mediaTypes, type Descriptor, type Platform } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { printLine } from "../output.ts";
import { authHeader } from "../registry-credentials.ts";

export const command: Command = {
  usage: "inspect [OPTIONS] MANIFEST",
  description: "Display an image manifest, or manifest list",
  flags: [
    { name: "insecure", kind: "bool", description: "Allow communication with an insecure registry" },
    {
      name: "verbose",
      short: "v",
      kind: "bool",
      description: "Output additional info including layers and platform",
    },
  ],
  arguments: { min: 1, max: 1 },
  run: inspectManifest,
};

interface RegistryManifest {
  readonly Ref: string;
  readonly Descriptor: Descriptor;
  readonly Raw: string;
}

async function inspectManifest({ flags, args, client }: Invocation): Promise<number> {
  const [name = ""] = args;
  const engine = await client();
  const { Index, Manifests } = await engine.json<{ Index?: RegistryManifest; Manifests: RegistryManifest[] }>(
    "GET",
    `/vitrine/images/${pathPart(name)}/manifests`,
    { query: { insecure: flags.bool("insecure") || undefined }, headers: await authHeader(name) },
  );
  const [single] = Manifests;
  if (flags.bool("verbose")) {
    const shown = Manifests.map(verbose);
    printLine(JSON.stringify(Index ? shown : shown[0], undefined, "\t"));
  } else if (Index) {
    printLine(JSON.stringify(listOf(Index, Manifests), undefined, 3));
  } else if (single) {
    printLine(JSON.stringify(document(single), undefined, "\t"));
  }
  return 0;
}

/** docker shows a list's entries with the members that pick one. */
function listOf(index: RegistryManifest, manifests: readonly RegistryManifest[]): unknown {
  return {
    schemaVersion: 2,
    mediaType: index.Descriptor.mediaType,
    manifests: manifests.map(({ Descriptor: { mediaType, size, digest, platform } }) => ({
      mediaType,
      size,
      digest,
      platform: inOrder(platform),
    })),
  };
}

function verbose(manifest: RegistryManifest): unknown {
  const { mediaType, digest, size, platform } = manifest.Descriptor;
  const member = mediaType === mediaTypes.dockerManifest ? "SchemaV2Manifest" : "OCIManifest";
  const { schemaVersion, config, layers, ...rest } = document(manifest);
  return {
    Ref: manifest.Ref,
    Descriptor: { mediaType, digest, size, platform: inOrder(platform) },
    Raw: manifest.Raw,
    [member]: { schemaVersion, mediaType: rest["mediaType"], config, layers, annotations: rest["annotations"] },
  };
}

/** The members as docker's client writes them. */
function inOrder(platform: Platform | undefined): Platform | undefined {
  if (!platform) return undefined;
  const { architecture, os, variant } = platform;
  return { architecture, os, ...(variant ? { variant } : {}) };
}

function document({ Raw }: RegistryManifest): Record<string, unknown> {
  return JSON.parse(Buffer.from(Raw, "base64").toString("utf8")) as Record<string, unknown>;
}
