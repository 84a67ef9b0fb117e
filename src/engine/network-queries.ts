import { EngineError } from "../common/index.ts";
import type { NetworkResource } from "../spec/index.ts";
import type { Filters, NetworkQueries } from "./contract.ts";
import type { Core } from "./core.ts";
import { requireKnownFilters } from "./known-filters.ts";
import { publishPrune } from "./prune-event.ts";

/** The networks with the containers that are on them. */
export class EngineNetworks implements NetworkQueries {
  constructor(private readonly core: Core) {}

  async list(filters: Filters): Promise<NetworkResource[]> {
    return this.core.networks
      .list()
      .filter((network) =>
        [...filters].every(([name, values]) => values.some((value) => matches(network, name, value))),
      );
  }

  async inspect(idOrName: string): Promise<NetworkResource> {
    const network = this.core.networks.inspect(idOrName);
    const containers = this.core.store.all().flatMap((record) => {
      const settings = record.network?.settings;
      if (record.network?.networkName !== network.Name || !settings) return [];
      const endpoint = {
        Name: record.name,
        EndpointID: settings.EndpointID,
        MacAddress: settings.MacAddress,
        IPv4Address: settings.IPAddress ? `${settings.IPAddress}/${settings.IPPrefixLen}` : "",
        IPv6Address: "",
      };
      return [[record.id, endpoint] as const];
    });
    return { ...network, Containers: Object.fromEntries(containers) };
  }

  async prune(filters: Filters): Promise<string[]> {
    requireKnownFilters(filters, ["label", "label!", "until"]);
    publishPrune(this.core, "network", 0);
    return [];
  }
}

function matches(network: NetworkResource, filter: string, value: string): boolean {
  switch (filter) {
    case "name":
      return network.Name.includes(value);
    case "id":
      return network.Id.startsWith(value);
    case "driver":
      return network.Driver === value;
    case "scope":
      return network.Scope === value;
    case "type":
      return (value === "builtin") === ["bridge", "host", "none"].includes(network.Name);
    case "label":
      return (value.split("=", 1)[0] as string) in network.Labels;
    case "dangling":
      return value === "false" || value === "0";
    default:
      throw new EngineError("invalidArgument", `invalid filter '${filter}'`);
  }
}
