import { ApiClient, type EngineAddress, parseAddress } from "../api/client/index.ts";
import { Paths } from "../common/index.ts";

/**
 * Connects to the engine that `-H`, else DOCKER_HOST, names; else to Vitrine's own socket, where a daemon is started when
 * none answers. DOCKER_API_VERSION switches version negotiation off, as with docker.
 */
export async function connect(host: string | undefined): Promise<ApiClient> {
  const named = host ?? (process.env["DOCKER_HOST"] || undefined);
  const apiVersion = process.env["DOCKER_API_VERSION"];
  const options = apiVersion ? { apiVersion } : {};
  if (named !== undefined) return new ApiClient(parseAddress(named), options);
  const address: EngineAddress = { kind: "unix", path: new Paths().apiSocket };
  const client = new ApiClient(address, options);
  try {
    await client.ping();
    return client;
  } catch (thrown) {
    if ((thrown as { code?: string }).code !== "unavailable") throw thrown;
  }
  const { startDaemonIfNeeded } = await import("./start-daemon.ts");
  await startDaemonIfNeeded();
  return new ApiClient(address, options);
}
