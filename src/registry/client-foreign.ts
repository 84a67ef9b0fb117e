// Layers that registries do not hold: their manifests say where they are (OCI image spec 1.1, layer.md "Non-Distributable Layers").
import { EngineError } from "../common/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { isInsecure, type RegistrySettings } from "./client-settings.ts";
import { RegistryTransport } from "./client-transport.ts";

export function isForeignLayer({ mediaType }: Descriptor): boolean {
  return /^application\/vnd\.(docker\.image\.rootfs\.foreign|oci\.image\.layer\.nondistributable)\./.test(mediaType);
}

/** Throws `unsupported` unless the daemon was told to ask addresses that images name, and `invalidArgument` where there are none. */
export function requireForeignAllowed(layers: readonly Descriptor[], settings: RegistrySettings): void {
  for (const layer of layers.filter(isForeignLayer)) {
    if (!settings.allowForeignLayers) {
      throw new EngineError(
        "unsupported",
        `The layer "${layer.digest}" is a foreign layer ("${layer.mediaType}"), which registries do not hold: a daemon with --allow-foreign-layers takes it from where its manifest says`,
      );
    }
    if (addressesOf(layer).length === 0) {
      throw new EngineError("invalidArgument", `The foreign layer "${layer.digest}" does not say where it is`);
    }
  }
}

/** The answer of the first of the layer's addresses that has it, without anybody's credentials. */
export async function openForeignLayer(
  layer: Descriptor,
  options: { settings: RegistrySettings; headers: Readonly<Record<string, string>>; signal: AbortSignal | undefined },
): Promise<Response> {
  const { settings, headers, signal } = options;
  let last: unknown;
  for (const address of addressesOf(layer)) {
    try {
      const url = requireSafe(address, settings);
      const transport = new RegistryTransport({ domain: url.host, settings, base: new URL(url.origin) });
      return await transport.send({ method: "GET", target: url.href, scopes: [], headers, signal });
    } catch (error) {
      signal?.throwIfAborted();
      last = error;
    }
  }
  throw last;
}

function addressesOf({ urls }: Descriptor): string[] {
  return Array.isArray(urls) ? urls.filter((url): url is string => typeof url === "string") : [];
}

function requireSafe(address: string, settings: RegistrySettings): URL {
  const url = URL.parse(address);
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isInsecure(url.host, settings))) return url;
  throw new EngineError(
    "permissionDenied",
    `A foreign layer is at "${address}", which is neither https nor http of an insecure registry`,
  );
}
