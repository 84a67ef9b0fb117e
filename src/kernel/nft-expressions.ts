// The expressions of nf_tables rules, encoded by hand: include/uapi/linux/netfilter/nf_tables.h; `nft --debug=netlink` prints the same names.
import { isIPv4 } from "node:net";
import { attribute, nest, text, u32, u32be } from "./netlink.ts";

/** One encoded expression: an element of a rule's list. */
export type Expression = Buffer;

const listElement = 1;
const expressionName = 1;
const expressionData = 2;
const dataValue = 1;
const dataVerdict = 2;
/** Register 1 is 16 bytes wide; its second and third quarter are called 9 and 10. */
const register = { verdict: 0, first: 1, second: 9, third: 10 } as const;
const metaKey = {
  inputName: 6,
  outputName: 7,
  layer4: 16,
  inputGroup: 21,
  outputGroup: 22,
  inputKind: 26,
  outputKind: 27,
} as const;
const compare = { equal: 0, unequal: 1 } as const;
const interfaceNameBytes = 16;

export const verdictCode = { accept: 1, drop: 0, jump: -3, goto: -4, return: -5 } as const;

function expression(name: string, ...attributes: readonly Buffer[]): Expression {
  return nest(listElement, attribute(expressionName, text(name)), nest(expressionData, ...attributes));
}

function meta(key: number, target: number = register.first): Expression {
  return expression("meta", attribute(1, u32be(target)), attribute(2, u32be(key)));
}

function cmp(value: Uint8Array, unequal = false): Expression {
  const operation = unequal ? compare.unequal : compare.equal;
  return expression(
    "cmp",
    attribute(1, u32be(register.first)),
    attribute(2, u32be(operation)),
    nest(3, attribute(dataValue, value)),
  );
}

function payload(where: {
  base: "network" | "transport";
  offset: number;
  length: number;
  target?: number;
}): Expression {
  return expression(
    "payload",
    attribute(1, u32be(where.target ?? register.first)),
    attribute(2, u32be(where.base === "network" ? 1 : 2)),
    attribute(3, u32be(where.offset)),
    attribute(4, u32be(where.length)),
  );
}

function mask(bits: Uint8Array): Expression {
  return expression(
    "bitwise",
    attribute(1, u32be(register.first)),
    attribute(2, u32be(register.first)),
    attribute(3, u32be(bits.length)),
    nest(4, attribute(dataValue, bits)),
    nest(5, attribute(dataValue, Buffer.alloc(bits.length))),
  );
}

function connection(key: "state" | "status", bits: number): Expression[] {
  const load = expression("ct", attribute(1, u32be(register.first)), attribute(2, u32be(key === "state" ? 0 : 2)));
  return [load, mask(u32(bits)), cmp(Buffer.alloc(4), true)];
}

/** An interface name padded as nf_tables compares it. */
export function interfaceName(name: string): Buffer {
  const bytes = Buffer.alloc(interfaceNameBytes);
  bytes.write(name, "utf8");
  return bytes;
}

/** `iifname NAME`, or `iifname != NAME`. */
export function fromInterface(name: string, options: { not?: boolean } = {}): Expression[] {
  return [meta(metaKey.inputName), cmp(interfaceName(name), options.not)];
}

/** `oifname NAME`, or `oifname != NAME`. */
export function toInterface(name: string, options: { not?: boolean } = {}): Expression[] {
  return [meta(metaKey.outputName), cmp(interfaceName(name), options.not)];
}

/** `iifgroup != N oifgroup != N`: neither end of a forwarded packet's way is in the link group. */
export function outsideGroup(group: number): Expression[] {
  return [meta(metaKey.inputGroup), cmp(u32(group), true), meta(metaKey.outputGroup), cmp(u32(group), true)];
}

/**
 * `iifkind bridge oifkind bridge`. With bridge-nf-call-iptables the frames that a bridge passes between its own ports cross
 * the forward hook too, with the bridge as both interfaces.
 */
export function betweenBridges(): Expression[] {
  const bridge = cmp(interfaceName("bridge"));
  return [meta(metaKey.inputKind), bridge, meta(metaKey.outputKind), bridge];
}

/** `ip saddr NETWORK/PREFIX` or `ip daddr NETWORK/PREFIX`. */
export function inNetwork(
  side: "source" | "destination",
  network: { address: string; prefixLength: number },
): Expression[] {
  if (!isIPv4(network.address)) throw new RangeError(`${network.address} is not an IPv4 address`);
  const bits = Buffer.alloc(4);
  bits.writeUInt32BE((2 ** 32 - 2 ** (32 - network.prefixLength)) >>> 0);
  const address = Buffer.from(network.address.split(".").map((part, index) => Number(part) & (bits[index] ?? 0)));
  return [payload({ base: "network", offset: side === "source" ? 12 : 16, length: 4 }), mask(bits), cmp(address)];
}

/** `fib daddr type local`: the packet is for an address of this host. */
export function forThisHost(): Expression[] {
  const [destination, addressType, local] = [2, 3, 2];
  const load = expression(
    "fib",
    attribute(1, u32be(register.first)),
    attribute(2, u32be(addressType)),
    attribute(3, u32be(destination)),
  );
  return [load, cmp(u32(local))];
}

/** `ct state established,related`. */
export function ofKnownConnection(): Expression[] {
  return connection("state", 2 | 4);
}

/** `ct status dnat`: a published port's connection. */
export function ofTranslatedConnection(): Expression[] {
  return connection("status", 0x20);
}

/** `dnat ip to meta l4proto . ip daddr . th dport map @MAP`; without `withAddress` the key has no address. */
export function translateBy(map: string, options: { withAddress: boolean }): Expression[] {
  const port = { base: "transport", offset: 2, length: 2 } as const;
  const destination = payload({ base: "network", offset: 16, length: 4, target: register.second });
  return [
    meta(metaKey.layer4),
    ...(options.withAddress ? [destination] : []),
    payload({ ...port, target: options.withAddress ? register.third : register.second }),
    expression(
      "lookup",
      attribute(1, text(map)),
      attribute(2, u32be(register.first)),
      attribute(3, u32be(register.first)),
    ),
    expression(
      "nat",
      attribute(1, u32be(1)),
      attribute(2, u32be(2)),
      attribute(3, u32be(register.first)),
      attribute(5, u32be(register.second)),
    ),
  ];
}

export function masquerade(): Expression[] {
  return [expression("masq")];
}

/** `counter`: iptables shows no rule as its own without one. */
export function counter(): Expression[] {
  return [expression("counter", attribute(1, Buffer.alloc(8)), attribute(2, Buffer.alloc(8)))];
}

export function verdict(kind: "accept" | "drop"): Expression[] {
  return [immediate(attribute(1, u32be(verdictCode[kind])))];
}

export function jump(chain: string): Expression[] {
  return [immediate(attribute(1, u32be(verdictCode.jump)), attribute(2, text(chain)))];
}

function immediate(...parts: readonly Buffer[]): Expression {
  return expression("immediate", attribute(1, u32be(register.verdict)), nest(2, nest(dataVerdict, ...parts)));
}
