import { shortId } from "../../common/index.ts";
import type { NetworkResource } from "../../spec/index.ts";
import type { Command } from "../command.ts";
import { filterFlag, formatFlag } from "../common-flags.ts";
import { goTime, joinLabels } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing } from "../listing.ts";

export const command: Command = {
  usage: "ls [OPTIONS]",
  description: "List networks",
  aliases: ["network ls", "network list"],
  flags: [
    filterFlag("driver=bridge"),
    formatFlag,
    { name: "no-trunc", kind: "bool", description: "Do not truncate the output" },
    { name: "quiet", short: "q", kind: "bool", description: "Only display network IDs" },
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const engine = await client();
    const networks = await engine.get<NetworkResource[]>("/networks", { filters: encodeFilters(flags.list("filter")) });
    networks.sort((left, right) => (left.Name < right.Name ? -1 : 1));
    await printListing({
      format: flags.string("format"),
      table: String.raw`{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`,
      headers: {
        ID: "NETWORK ID",
        Name: "NAME",
        Driver: "DRIVER",
        Scope: "SCOPE",
        IPv4: "IPV4",
        IPv6: "IPV6",
        Internal: "INTERNAL",
        Labels: "LABELS",
        CreatedAt: "CREATED AT",
      },
      rows: networks.map((network) => networkRow(network, !flags.bool("no-trunc"))),
      quiet: flags.bool("quiet") ? "{{.ID}}" : undefined,
    });
    return 0;
  },
};

function networkRow(network: NetworkResource, truncate: boolean): GoObject {
  return {
    [goType]: "*network.networkContext",
    ID: truncate ? shortId(network.Id) : network.Id,
    Name: network.Name,
    Driver: network.Driver,
    Scope: network.Scope,
    IPv4: "true",
    IPv6: String(network.EnableIPv6),
    Internal: String(network.Internal),
    Labels: joinLabels(network.Labels),
    Label: (name: unknown) => network.Labels?.[String(name)] ?? "",
    CreatedAt: goTime(Date.parse(network.Created)),
  };
}
