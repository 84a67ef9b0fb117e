// nf_tables through netlink: transactions of tables, chains, maps and rules, and listings. nft(8) names the same things.
import { EngineError } from "../common/index.ts";
import {
  NetlinkSocket,
  attribute,
  eachAttribute,
  nest,
  netlinkFlag,
  netlinkProtocol,
  readAttributes,
  readText,
  text,
  u32be,
  type NetlinkMessage,
} from "./netlink.ts";
import type { Expression } from "./nft-expressions.ts";

const subsystem = 10;
const message = {
  newTable: 0,
  getTable: 1,
  deleteTable: 2,
  newChain: 3,
  getChain: 4,
  newRule: 6,
  getRule: 7,
  deleteRule: 8,
  newSet: 9,
  newElement: 12,
  getElement: 13,
  deleteElement: 14,
  getGeneration: 16,
};
const batchBegin = 16;
const batchEnd = 17;
const listElement = 1;
const setIsMap = 8;
const dataValue = 1;
const commentType = 0;

export const nftFamily = { inet: 1, ip: 2, bridge: 7, ip6: 10 } as const;
export const nftHook = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

/** Numbers that nft(8) gives its data types, so that it can print what we made; a concatenation shifts by six bits. */
const dataType = { ipv4_addr: 7, inet_proto: 12, inet_service: 13 } as const;
export type MapField = keyof typeof dataType;

export interface MapElement {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface BaseChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: keyof typeof nftHook;
  readonly priority: number;
}

/** A chain as the kernel lists it; `hook` and `policy` only of base chains. */
export interface ListedChain {
  readonly family: number;
  readonly table: string;
  readonly name: string;
  readonly hook: number | undefined;
  readonly priority: number | undefined;
  readonly policy: "accept" | "drop" | undefined;
}

export interface ListedRule {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
  readonly handle: bigint;
  readonly comment: string;
  readonly expressions: readonly { readonly name: string; readonly data: Buffer }[];
}

/**
 * Changes that the kernel makes all together or not at all, in order. Build one, then `nftables.commit(batch)`:
 *
 *     commit(new NftBatch().addTable("vitrine").addMap("vitrine", {…}).addRule({ table: "vitrine", … }))
 */
export class NftBatch {
  readonly messages: NetlinkMessage[] = [];
  #setId = 0;

  constructor(readonly family: number = nftFamily.ip) {}

  addTable(table: string): this {
    return this.#add(message.newTable, {
      flags: netlinkFlag.create,
      attributes: [attribute(1, text(table)), attribute(2, u32be(0))],
      what: `Cannot make table "${table}"`,
    });
  }

  deleteTable(table: string): this {
    return this.#add(message.deleteTable, {
      attributes: [attribute(1, text(table))],
      what: `Cannot delete table "${table}"`,
    });
  }

  /** A base chain with policy accept, or a plain one that rules jump to. */
  addChain(table: string, chain: BaseChain | { readonly name: string }): this {
    const attributes = [attribute(1, text(table)), attribute(3, text(chain.name))];
    if ("hook" in chain) {
      const hook = [attribute(1, u32be(nftHook[chain.hook])), attribute(2, u32be(chain.priority))];
      attributes.push(nest(4, ...hook), attribute(5, u32be(1)), attribute(7, text(chain.type)));
    }
    const what = `Cannot make chain "${chain.name}" of table "${table}"`;
    return this.#add(message.newChain, { flags: netlinkFlag.create, attributes, what });
  }

  /** A map whose key and value are concatenations of these fields, each padded to four bytes. */
  addMap(table: string, map: { name: string; key: readonly MapField[]; value: readonly MapField[] }): this {
    const attributes = [
      attribute(1, text(table)),
      attribute(2, text(map.name)),
      attribute(3, u32be(setIsMap)),
      attribute(4, u32be(concatenated(map.key))),
      attribute(5, u32be(4 * map.key.length)),
      attribute(6, u32be(concatenated(map.value))),
      attribute(7, u32be(4 * map.value.length)),
      attribute(10, u32be(++this.#setId)),
    ];
    const what = `Cannot make map "${map.name}" of table "${table}"`;
    return this.#add(message.newSet, { flags: netlinkFlag.create, attributes, what });
  }

  addElements(table: string, map: string, elements: readonly MapElement[]): this {
    return this.#elements(message.newElement, { table, map, elements });
  }

  /** Fails with ENOENT when one of them is not there. */
  deleteElements(table: string, map: string, elements: readonly MapElement[]): this {
    return this.#elements(message.deleteElement, { table, map, elements });
  }

  /** At the chain's end, or with `first` at its start. `comment` is what nft and iptables show. */
  addRule(rule: {
    table: string;
    chain: string;
    expressions: readonly Expression[];
    comment?: string;
    first?: boolean;
  }): this {
    const attributes = [attribute(1, text(rule.table)), attribute(2, text(rule.chain)), nest(4, ...rule.expressions)];
    if (rule.comment !== undefined) attributes.push(attribute(7, encodeComment(rule.comment)));
    return this.#add(message.newRule, {
      flags: netlinkFlag.create | (rule.first ? 0 : netlinkFlag.append),
      attributes,
      what: `Cannot add a rule to chain "${rule.chain}" of table "${rule.table}"`,
    });
  }

  deleteRule(rule: { table: string; chain: string; handle: bigint }): this {
    const handle = Buffer.alloc(8);
    handle.writeBigUInt64BE(rule.handle);
    return this.#add(message.deleteRule, {
      attributes: [attribute(1, text(rule.table)), attribute(2, text(rule.chain)), attribute(3, handle)],
      what: `Cannot delete rule ${rule.handle} of chain "${rule.chain}" of table "${rule.table}"`,
    });
  }

  #elements(type: number, request: { table: string; map: string; elements: readonly MapElement[] }): this {
    const { table, map, elements } = request;
    if (elements.length === 0) return this;
    const deleting = type === message.deleteElement;
    const list = elements.map(({ key, value }) => {
      const parts = [nest(1, attribute(dataValue, key))];
      if (!deleting) parts.push(nest(2, attribute(dataValue, value)));
      return nest(listElement, ...parts);
    });
    return this.#add(type, {
      flags: deleting ? 0 : netlinkFlag.create | netlinkFlag.exclusive,
      attributes: [attribute(1, text(table)), attribute(2, text(map)), nest(3, ...list)],
      what: `Cannot ${deleting ? "delete" : "add"} ${elements.length} elements of map "${map}" of table "${table}"`,
    });
  }

  #add(type: number, change: { flags?: number; attributes: readonly Buffer[]; what: string }): this {
    this.messages.push({
      type: (subsystem << 8) | type,
      flags: netlinkFlag.acknowledge | (change.flags ?? 0),
      payload: Buffer.concat([header(this.family), ...change.attributes]),
      what: change.what,
    });
    return this;
  }
}

/** The firewall of one network namespace. */
export class Nftables implements Disposable {
  constructor(readonly netlink: NetlinkSocket = NetlinkSocket.open(netlinkProtocol.netfilter)) {}

  [Symbol.dispose](): void {
    this.netlink[Symbol.dispose]();
  }

  /** Makes all changes of the batches or none. Throws the SystemError of the first change that was refused. */
  commit(...batches: readonly NftBatch[]): void {
    const messages = batches.flatMap((batch) => batch.messages);
    if (messages.length === 0) return;
    const what = "Cannot change the firewall";
    this.netlink.request([
      { type: batchBegin, flags: 0, payload: header(0, subsystem), what },
      ...messages,
      { type: batchEnd, flags: 0, payload: header(0, subsystem), what },
    ]);
  }

  /** A number that changes with every transaction of anyone. */
  generation(): number {
    const type = (subsystem << 8) | message.getGeneration;
    const what = "Cannot read the firewall's generation";
    const [reply] = this.netlink.request([{ type, flags: 0, payload: header(0), what }]);
    return reply ? (readAttributes(reply.payload.subarray(4)).get(1)?.readUInt32BE(0) ?? 0) : 0;
  }

  tables(): { family: number; name: string }[] {
    return this.#list(message.getTable, "tables").map(({ family, attributes }) => {
      return { family, name: readText(attributes.get(1)) };
    });
  }

  chains(): ListedChain[] {
    return this.#list(message.getChain, "chains").map(({ family, attributes }) => {
      const hook = readAttributes(attributes.get(4) ?? Buffer.alloc(0));
      const policy = attributes.get(5)?.readUInt32BE(0);
      return {
        family,
        table: readText(attributes.get(1)),
        name: readText(attributes.get(3)),
        hook: hook.get(1)?.readUInt32BE(0),
        priority: hook.get(2)?.readInt32BE(0),
        policy: policy === undefined ? undefined : policy === 0 ? ("drop" as const) : ("accept" as const),
      };
    });
  }

  rules(): ListedRule[] {
    return this.#list(message.getRule, "rules").map(({ family, attributes }) => ({
      family,
      table: readText(attributes.get(1)),
      chain: readText(attributes.get(2)),
      handle: attributes.get(3)?.readBigUInt64BE(0) ?? 0n,
      comment: decodeComment(attributes.get(7)),
      expressions: [...eachAttribute(attributes.get(4) ?? Buffer.alloc(0))].map(([, element]) => {
        const parts = readAttributes(element);
        return { name: readText(parts.get(1)), data: parts.get(2) ?? Buffer.alloc(0) };
      }),
    }));
  }

  /** The elements of a map of an `ip` table. */
  elements(table: string, map: string): MapElement[] {
    const payload = Buffer.concat([header(nftFamily.ip), attribute(1, text(table)), attribute(2, text(map))]);
    const what = `Cannot list map "${map}" of table "${table}"`;
    const replies = this.netlink.dump({ type: (subsystem << 8) | message.getElement, payload, what });
    return replies.flatMap((reply) => {
      const list = readAttributes(reply.payload.subarray(4)).get(3) ?? Buffer.alloc(0);
      return [...eachAttribute(list)].map(([, element]) => {
        const parts = readAttributes(element);
        return { key: innerValue(parts.get(1)), value: innerValue(parts.get(2)) };
      });
    });
  }

  #list(type: number, noun: string): { family: number; attributes: Map<number, Buffer> }[] {
    const request = { type: (subsystem << 8) | type, payload: header(0), what: `Cannot list the firewall's ${noun}` };
    return this.netlink
      .dump(request)
      .map(({ payload }) => ({ family: payload[0] ?? 0, attributes: readAttributes(payload.subarray(4)) }));
  }
}

/** `struct nfgenmsg`. */
function header(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 255]);
}

function concatenated(fields: readonly MapField[]): number {
  return fields.reduce((number, field) => (number << 6) | dataType[field], 0);
}

function innerValue(data: Buffer | undefined): Buffer {
  return readAttributes(data ?? Buffer.alloc(0)).get(dataValue) ?? Buffer.alloc(0);
}

/** libnftnl's user data: type, length, value. */
function encodeComment(comment: string): Buffer {
  const bytes = text(comment);
  if (bytes.length > 128)
    throw new EngineError("invalidArgument", `rule comment "${comment}" is longer than 127 bytes`);
  return Buffer.concat([Buffer.from([commentType, bytes.length]), bytes]);
}

function decodeComment(data: Buffer | undefined): string {
  if (!data) return "";
  for (let offset = 0; offset + 2 <= data.length; offset += 2 + (data[offset + 1] ?? 0)) {
    if (data[offset] !== commentType) continue;
    return readText(data.subarray(offset + 2, offset + 2 + (data[offset + 1] ?? 0)));
  }
  return "";
}
