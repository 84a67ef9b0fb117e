// The one nf_tables table of an engine. Its rules never change while it runs: containers come and go as map elements.
import {
  NftBatch,
  betweenBridges,
  forThisHost,
  fromInterface,
  inNetwork,
  jump,
  masquerade,
  nftFamily,
  ofKnownConnection,
  ofTranslatedConnection,
  outsideGroup,
  toInterface,
  translateBy,
  verdict,
  type Expression,
  type MapElement,
} from "../kernel/index.ts";
import type { PublishedPort } from "./published-ports.ts";
import { formatAddress, type Subnet } from "./subnet.ts";

/** Every engine's links carry this group number (`ip link show group`), so that engines beside each other know them. */
export const linkGroup = 0x7674;

/** Base chain whose presence says: this engine switched forwarding on, and keeps it shut for everyone else's links. */
export const guardChain = "guard_forwarding";

export const byPort = "published_ports";
export const byAddressAndPort = "published_on_address";

const protocolNumber = { tcp: 6, udp: 17 } as const;
const everyAddress = "0.0.0.0";
const priority = { raw: -300, destinationNat: -100, filter: 0, sourceNat: 100 } as const;

export interface RulesetOptions {
  readonly table: string;
  readonly bridge: string;
  readonly subnet: Subnet;
  readonly guarded: boolean;
  /** What is published when the table is made. */
  readonly published: readonly { readonly address: string; readonly ports: readonly PublishedPort[] }[];
}

/** Makes the table anew, whatever was in it, in one transaction: no packet ever meets half of it. */
export function rulesetBatch(options: RulesetOptions): NftBatch {
  const { table } = options;
  const batch = new NftBatch(nftFamily.ip);
  // Adding first makes the deletion succeed whether or not there was a table.
  batch.addTable(table).deleteTable(table).addTable(table);
  const value = ["ipv4_addr", "inet_service"] as const;
  batch.addMap(table, { name: byAddressAndPort, key: ["inet_proto", "ipv4_addr", "inet_service"], value });
  batch.addMap(table, { name: byPort, key: ["inet_proto", "inet_service"], value });
  batch.addChain(table, { name: "publish" });
  batch.addChain(table, { name: "raw_prerouting", type: "filter", hook: "prerouting", priority: priority.raw });
  batch.addChain(table, { name: "prerouting", type: "nat", hook: "prerouting", priority: priority.destinationNat });
  batch.addChain(table, { name: "output", type: "nat", hook: "output", priority: priority.destinationNat });
  batch.addChain(table, { name: "postrouting", type: "nat", hook: "postrouting", priority: priority.sourceNat });
  batch.addChain(table, { name: "forward", type: "filter", hook: "forward", priority: priority.filter });
  if (options.guarded) {
    batch.addChain(table, { name: guardChain, type: "filter", hook: "forward", priority: priority.filter });
  }
  for (const [chain, comment, expressions] of rulesOf(options)) batch.addRule({ table, chain, comment, expressions });
  for (const { address, ports } of options.published) addPublished(batch, { table, address, ports });
  return batch;
}

/** How many rules the table has when nobody has tampered with it. */
export function ruleCount(options: RulesetOptions): number {
  return rulesOf(options).length;
}

type Rule = readonly [chain: string, comment: string, expressions: readonly Expression[]];

function rulesOf({ bridge, subnet, guarded }: RulesetOptions): Rule[] {
  const network = { address: formatAddress(subnet.first), prefixLength: subnet.prefixLength };
  const loopback = { address: "127.0.0.0", prefixLength: 8 };
  const outside = { not: true };
  const accept = verdict("accept");
  const drop = verdict("drop");
  const guard: Rule[] = [
    [guardChain, "frames that a bridge passes between its ports", [...betweenBridges(), ...accept]],
    [guardChain, "forwarding was off before", [...outsideGroup(linkGroup), ...drop]],
  ];
  return [
    // route_localnet lets our own translated packets in; nobody else may speak to 127/8, or from it.
    [
      "raw_prerouting",
      "loopback addresses live on lo",
      [...fromInterface("lo", outside), ...inNetwork("destination", loopback), ...drop],
    ],
    [
      "raw_prerouting",
      "loopback addresses live on lo",
      [...fromInterface(bridge), ...inNetwork("source", loopback), ...drop],
    ],
    ["publish", "published on one address", translateBy(byAddressAndPort, { withAddress: true })],
    ["publish", "published on every address", translateBy(byPort, { withAddress: false })],
    ["prerouting", "for this host", [...forThisHost(), ...jump("publish")]],
    ["output", "from this host to itself", [...forThisHost(), ...jump("publish")]],
    [
      "postrouting",
      "to the outside",
      [...inNetwork("source", network), ...toInterface(bridge, outside), ...masquerade()],
    ],
    ["postrouting", "from localhost", [...inNetwork("source", loopback), ...toInterface(bridge), ...masquerade()]],
    // Else the answer would go straight to the asking neighbour, who did not ask that address.
    [
      "postrouting",
      "hairpin",
      [...inNetwork("source", network), ...toInterface(bridge), ...ofTranslatedConnection(), ...masquerade()],
    ],
    ["forward", "answers", [...toInterface(bridge), ...ofKnownConnection(), ...accept]],
    ["forward", "between containers", [...fromInterface(bridge), ...toInterface(bridge), ...accept]],
    ["forward", "published ports", [...toInterface(bridge), ...ofTranslatedConnection(), ...accept]],
    ["forward", "nothing else from outside", [...toInterface(bridge), ...drop]],
    ...(guarded ? guard : []),
  ];
}

/** Elements for a container's published IPv4 ports. IPv6 ones are relayed, not translated. */
export function addPublished(
  batch: NftBatch,
  request: { table: string; address: string; ports: readonly PublishedPort[] },
): NftBatch {
  for (const [map, elements] of elementsByMap(request)) batch.addElements(request.table, map, elements);
  return batch;
}

export function deletePublished(
  batch: NftBatch,
  request: { table: string; address: string; ports: readonly PublishedPort[] },
): NftBatch {
  for (const [map, elements] of elementsByMap(request)) batch.deleteElements(request.table, map, elements);
  return batch;
}

function elementsByMap(request: { address: string; ports: readonly PublishedPort[] }): [string, MapElement[]][] {
  const maps: Record<string, MapElement[]> = { [byPort]: [], [byAddressAndPort]: [] };
  for (const port of request.ports) {
    if (port.hostAddress.includes(":")) continue;
    const protocol = Buffer.from([protocolNumber[port.protocol], 0, 0, 0]);
    const hostPort = paddedPort(port.hostPort);
    const value = Buffer.concat([addressBytes(request.address), paddedPort(port.containerPort)]);
    if (port.hostAddress === everyAddress) maps[byPort]?.push({ key: Buffer.concat([protocol, hostPort]), value });
    else {
      const key = Buffer.concat([protocol, addressBytes(port.hostAddress), hostPort]);
      maps[byAddressAndPort]?.push({ key, value });
    }
  }
  return Object.entries(maps);
}

function addressBytes(address: string): Buffer {
  return Buffer.from(address.split(".").map(Number));
}

function paddedPort(port: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16BE(port);
  return bytes;
}
