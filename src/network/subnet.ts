import { isIPv4 } from "node:net";
import { EngineError } from "../common/index.ts";

/** An IPv4 network. `first` is the network's own address as a number; hosts follow it. */
export interface Subnet {
  readonly first: number;
  readonly prefixLength: number;
}

/** Parses `172.17.0.0/16`; bits beyond the prefix are dropped, as Docker does. Throws invalidArgument. */
export function parseSubnet(text: string): Subnet {
  const [address = "", prefix = ""] = text.split("/");
  const prefixLength = Number(prefix);
  if (!isIPv4(address) || !/^\d+$/.test(prefix) || prefixLength > 30 || prefixLength < 1) {
    throw new EngineError(
      "invalidArgument",
      `invalid subnet "${text}": an IPv4 network such as 172.17.0.0/16 is needed`,
    );
  }
  return subnetOf(address, prefixLength);
}

export function subnetOf(address: string, prefixLength: number): Subnet {
  const sizeMask = 2 ** (32 - prefixLength);
  return { first: Math.floor(addressNumber(address) / sizeMask) * sizeMask, prefixLength };
}

/** `172.17.0.0/16`. */
export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet.first)}/${subnet.prefixLength}`;
}

export function addressNumber(address: string): number {
  return address.split(".").reduce((number, part) => number * 256 + Number(part), 0);
}

export function formatAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}

/** The bridge's own address: the first host's, as Docker has it. */
export function gatewayOf(subnet: Subnet): string {
  return formatAddress(subnet.first + 1);
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  const endOf = (subnet: Subnet) => subnet.first + 2 ** (32 - subnet.prefixLength);
  return a.first < endOf(b) && b.first < endOf(a);
}

/** Docker's default pools in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20. */
export function* candidateSubnets(): Generator<Subnet> {
  for (let second = 17; second <= 31; second++) yield subnetOf(`172.${second}.0.0`, 16);
  for (let third = 0; third < 256; third += 16) yield subnetOf(`192.168.${third}.0`, 20);
}

/** The first candidate that overlaps none of `taken`. Throws resourceExhausted with Docker's words. */
export function chooseSubnet(taken: readonly Subnet[]): Subnet {
  for (const candidate of candidateSubnets()) {
    if (!taken.some((other) => overlaps(candidate, other))) return candidate;
  }
  throw new EngineError(
    "resourceExhausted",
    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
  );
}

/** The lowest free host address: network, gateway and broadcast are nobody's. Throws resourceExhausted with Docker's words. */
export function lowestFreeAddress(subnet: Subnet, used: ReadonlySet<string>): string {
  const last = subnet.first + 2 ** (32 - subnet.prefixLength) - 2;
  for (let number = subnet.first + 2; number <= last; number++) {
    const address = formatAddress(number);
    if (!used.has(address)) return address;
  }
  throw new EngineError(
    "resourceExhausted",
    `no available IPv4 addresses on this network's address pools: ${formatSubnet(subnet)}`,
  );
}

/** Whether containers may have this address: in the subnet, and neither its network, gateway nor broadcast address. */
export function isHostOf(subnet: Subnet, address: string): boolean {
  if (!isIPv4(address)) return false;
  const offset = addressNumber(address) - subnet.first;
  return offset >= 2 && offset <= 2 ** (32 - subnet.prefixLength) - 2;
}

/** Docker's MAC address of a container: 02:42 and the address's octets, so that who takes over an address has its MAC too. */
export function macAddressOf(address: string): string {
  const octets = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return ["02", "42", ...octets].join(":");
}
