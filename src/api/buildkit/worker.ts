import type { Engine } from "../../engine/index.ts";
import type { workerMessage } from "./control-messages.ts";

/** The version of BuildKit's services that these are written after; clients decide by it what they may ask. */
const protocolVersion = "v0.16.0";

/** This engine as the one worker that BuildKit's clients see. */
export async function worker(engine: Engine): Promise<ReturnType<typeof workerMessage.decode>> {
  const info = await engine.system.info();
  const gateway = await bridgeGateway(engine);
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  return {
    id: String(info["ID"] ?? "vitrine"),
    labels: new Map([
      ["org.mobyproject.buildkit.worker.executor", "vitrine"],
      // By this label clients know a worker that writes archives, and keeps what goes with an image.
      ["org.mobyproject.buildkit.worker.snapshotter", "overlayfs"],
      ["org.mobyproject.buildkit.worker.hostname", String(info["Name"] ?? "")],
      ...(gateway === undefined ? [] : [["org.mobyproject.buildkit.worker.moby.host-gateway-ip", gateway] as const]),
    ]),
    platforms: [{ architecture, os: "linux", variant: "", osVersion: "" }],
    gcPolicy: [],
    buildkitVersion: { package: "vitrine", version: protocolVersion, revision: "", dockerfileVersion: "" },
  };
}

/** Where containers reach this machine, which clients put into `--add-host name:host-gateway`. */
async function bridgeGateway(engine: Engine): Promise<string | undefined> {
  const networks = await engine.networks.list(new Map([["driver", ["bridge"]]]));
  return networks.find(({ Name }) => Name === "bridge")?.IPAM.Config?.[0]?.Gateway;
}
