// The bridge itself, with a name, a subnet and an MTU that fit the host it comes up on.
import { existsSync, readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import type { Link, RouteSocket } from "../kernel/index.ts";
import type { NetworkRecord } from "./endpoint-store.ts";
import { linkGroup } from "./ruleset.ts";
import {
  chooseSubnet,
  formatSubnet,
  gatewayOf,
  macAddressOf,
  overlaps,
  parseSubnet,
  subnetOf,
  type Subnet,
} from "./subnet.ts";

/** Names that make engines beside each other distinct. `subnet`: this one and no other. */
export interface NetworkInstance {
  readonly bridgeName: string;
  readonly tableName: string;
  readonly subnet?: string;
}

const standardMtu = 1500;
const maxNameNumber = 1000;

/** Our bridge, up and with its address: the one that an earlier engine left, or a new one with a free name and subnet. */
export function bringBridgeUp(
  route: RouteSocket,
  wish: { instance: NetworkInstance; record: NetworkRecord },
): { bridge: Link; subnet: Subnet } {
  const { instance, record } = wish;
  const before = record.bridge === undefined ? undefined : route.findLink(record.bridge);
  const reused = isOurBridge(before) ? before : undefined;
  const subnet = subnetFor(takenSubnets(route, reused?.index), wish);
  const links = route.links();
  const name =
    reused?.name ?? freeName(instance.bridgeName, (candidate) => links.some((link) => link.name === candidate));
  if (!reused) {
    route.createBridge({
      name,
      macAddress: macAddressOf(gatewayOf(subnet)),
      mtu: mtuFor(route, links),
      group: linkGroup,
    });
  }
  const bridge = route.findLink(name);
  if (!bridge) throw new EngineError("internal", `Bridge "${name}" vanished`);
  const addresses = route.addresses().filter((address) => address.linkIndex === bridge.index);
  if (!addresses.some(({ address }) => address === gatewayOf(subnet))) {
    route.addAddress(bridge.index, { address: gatewayOf(subnet), prefixLength: subnet.prefixLength });
  }
  if (!bridge.up) route.setLink(bridge.index, { up: true });
  return { bridge, subnet };
}

export function isOurBridge(link: Link | undefined): boolean {
  return link !== undefined && link.kind === "bridge" && link.group === linkGroup;
}

/** The wanted name, or with the next free number at its end. */
export function freeName(wanted: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(wanted)) return wanted;
  const [, stem = wanted, digits = ""] = /^(.*?)(\d*)$/.exec(wanted) ?? [];
  for (let number = Number(digits) + 1; number < Number(digits) + maxNameNumber; number++) {
    if (!isTaken(`${stem}${number}`)) return `${stem}${number}`;
  }
  throw new EngineError("resourceExhausted", `no free name like "${wanted}" is left`);
}

/** Whether the far end ever sent a packet; without one the kernel follows no connection for it. */
export function hasSpoken(link: string): boolean {
  try {
    return readFileSync(`/sys/class/net/${link}/statistics/rx_packets`, "utf8").trim() !== "0";
  } catch {
    // It went with its namespace, and its counters with it.
    return true;
  }
}

/** Whether a link exists, without the lock that a deletion in progress holds for tens of milliseconds. */
export function linkExists(name: string): boolean {
  return existsSync(`/sys/class/net/${name}`);
}

function subnetFor(taken: readonly Subnet[], wish: { instance: NetworkInstance; record: NetworkRecord }): Subnet {
  const { instance, record } = wish;
  if (instance.subnet !== undefined) {
    const wanted = parseSubnet(instance.subnet);
    const other = taken.find((subnet) => overlaps(subnet, wanted));
    if (!other) return wanted;
    const words = `subnet "${instance.subnet}" overlaps ${formatSubnet(other)}, which the host has already`;
    throw new EngineError("conflict", words);
  }
  const before = record.subnet === undefined ? undefined : parseSubnet(record.subnet);
  if (before && !taken.some((subnet) => overlaps(subnet, before))) return before;
  return chooseSubnet(taken);
}

/** Networks that the host reaches or is in, but for our own bridge's. */
function takenSubnets(route: RouteSocket, ownIndex: number | undefined): Subnet[] {
  const routes = route
    .routes()
    .filter((entry) => entry.prefixLength > 0 && entry.linkIndex !== ownIndex)
    .map((entry) => subnetOf(entry.destination, entry.prefixLength));
  const addresses = route
    .addresses()
    .filter((entry) => entry.linkIndex !== ownIndex)
    .map((entry) => subnetOf(entry.address, entry.prefixLength));
  return [...routes, ...addresses];
}

/** No larger than what the way out takes: not every network tells a sender that its packets were too long. */
function mtuFor(route: RouteSocket, links: readonly Link[]): number {
  const way = route.routes().find((entry) => entry.prefixLength === 0);
  const link = links.find((candidate) => candidate.index === way?.linkIndex);
  return Math.min(standardMtu, link?.mtu ?? standardMtu);
}
