// The bridge driver: what one engine owns in the host's network namespace, and the way of one container into it.
import { existsSync, readFileSync } from "node:fs";
import { EngineError, toEngineError } from "../common/index.ts";
import { Conntrack, NftBatch, Nftables, RouteSocket, SystemError, nftFamily, type Link } from "../kernel/index.ts";
import type { EndpointRecord, EndpointStore, NetworkRecord } from "./endpoint-store.ts";
import { ForeignFirewalls, type ForeignState } from "./foreign-firewalls.ts";
import type { FirewallListing } from "./foreign-rules.ts";
import { letLoopbackIn, needsGuard, switchForwardingBack, switchForwardingOn } from "./forwarding.ts";
import { isLegacyFilterInUse } from "./legacy-iptables.ts";
import type { PublishedPort } from "./published-ports.ts";
import {
  addPublished,
  deletePublished,
  guardChain,
  linkGroup,
  ruleCount,
  rulesetBatch,
  type RulesetOptions,
} from "./ruleset.ts";
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

const networkName = "bridge";
/** How often another firewall's reload is looked for: one request of 20 µs. */
const watchIntervalMs = 1000;
/** The old filter tells nothing of changes, and asking it starts a program. */
const legacyEveryTicks = 30;
const drainDelayMs = 20;
/** From here on the kernel filters, with one walk of its table an address and direction; below it one walk serves all. */
const manyConnections = 2000;
const standardMtu = 1500;
const maxNameNumber = 1000;

/** What stands in the host's network namespace once the network was started. */
export interface Running {
  readonly bridge: Link;
  readonly table: string;
  readonly subnet: Subnet;
  readonly gateway: string;
  readonly ruleset: Omit<RulesetOptions, "published">;
  readonly foreign: ForeignFirewalls;
}

export class BridgeNetwork {
  readonly #instance: NetworkInstance;
  readonly #store: EndpointStore;
  readonly #route = new RouteSocket();
  readonly #nftables = new Nftables();
  readonly #conntrack = new Conntrack();
  #starting: Promise<Running> | undefined;
  #running: Running | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  readonly #draining = new Set<string>();
  #drain: Promise<void> | undefined;
  #generation = 0;
  #ticks = 0;
  #checking = false;
  #foreign: ForeignState = { places: [], problems: [] };

  constructor(options: { instance: NetworkInstance; store: EndpointStore }) {
    this.#instance = options.instance;
    this.#store = options.store;
  }

  get route(): RouteSocket {
    return this.#route;
  }

  /** Brings bridge, table and forwarding up, whatever an earlier engine left of them. Once; a failure may be tried again. */
  start(): Promise<Running> {
    this.#starting ??= this.#start().catch((thrown: unknown) => {
      this.#starting = undefined;
      throw thrown;
    });
    return this.#starting;
  }

  /** Whether an earlier run left something that `start` would take over. */
  isLeftOver(): boolean {
    const { bridge } = this.#record();
    return bridge !== undefined && this.#isOurs(this.#route.findLink(bridge));
  }

  /** Leads the published ports of an endpoint that the database has to its address. Throws when the kernel refuses; then nothing changed. */
  async publish(address: string, ports: readonly PublishedPort[]): Promise<void> {
    const { table } = await this.start();
    try {
      this.#commit(addPublished(new NftBatch(nftFamily.ip), { table, address, ports }));
    } catch (thrown) {
      if (!(thrown instanceof SystemError && ["notFound", "alreadyExists"].includes(thrown.code))) throw thrown;
      // Someone flushed the whole ruleset since the last look, or an element outlived its container. The database has this one already.
      this.#rebuild();
    }
    const udpPorts = ports.filter((port) => port.protocol === "udp").map((port) => port.hostPort);
    if (udpPorts.length > 0 && this.#conntrack.count() > 0) this.#conntrack.deleteUdpTo(new Set(udpPorts));
  }

  /** The reverse of `publish`. */
  unpublish(address: string, ports: readonly PublishedPort[]): void {
    const table = this.#running?.table ?? this.#record().table;
    if (table) {
      // One by one only when not all were there: after a crash, or a flush by someone else.
      const groups = [ports, ...ports.map((port) => [port])];
      for (const group of groups) {
        try {
          this.#commit(deletePublished(new NftBatch(nftFamily.ip), { table, address, ports: group }));
          if (group === ports) break;
        } catch (thrown) {
          if (!(thrown instanceof EngineError && thrown.code === "notFound")) throw thrown;
        }
      }
    }
  }

  /** Addresses whose old connections are still followed: not to be given away yet. */
  get drainingAddresses(): ReadonlySet<string> {
    return this.#draining;
  }

  /** Ends every connection that the kernel follows for the address, soon: it costs milliseconds, which are spent once for many. */
  async forgetConnections(address: string): Promise<void> {
    this.#draining.add(address);
    this.#drain ??= this.#drainSoon().finally(() => {
      this.#drain = undefined;
    });
    await this.#drain;
  }

  async #drainSoon(): Promise<void> {
    while (this.#draining.size > 0) {
      await Bun.sleep(drainDelayMs);
      const addresses = new Set(this.#draining);
      try {
        await this.#forgetNow(addresses);
      } finally {
        for (const address of addresses) this.#draining.delete(address);
      }
    }
  }

  async #forgetNow(addresses: ReadonlySet<string>): Promise<void> {
    if (this.#conntrack.count() < manyConnections) {
      this.#conntrack.deleteOf(addresses);
      return;
    }
    for (const address of addresses) {
      for (const direction of ["outgoing", "incoming"] as const) {
        this.#conntrack.deleteOneOf(address, direction);
        await Bun.sleep(0);
      }
    }
  }

  /** Deletes ports of our bridge that belong to no endpoint. */
  deleteStrayLinks(): void {
    const bridge = this.#running?.bridge;
    if (!bridge) return;
    const known = new Set(this.#store.all().map((endpoint) => endpoint.link));
    for (const link of this.#route.links()) {
      if (link.master === bridge.index && link.group === linkGroup && !known.has(link.name)) this.deleteLink(link.name);
    }
  }

  deleteLink(name: string): void {
    try {
      this.#route.deleteLink(name);
    } catch (thrown) {
      // It went with its namespace.
      if (!(thrown instanceof EngineError && thrown.data["errnoName"] === "ENODEV")) throw thrown;
    }
  }

  /** Looks at our table and at other firewalls, and mends what somebody changed. */
  async check(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    let listing = this.#listing();
    const ours = listing.rules.filter((rule) => rule.family === nftFamily.ip && rule.table === running.table);
    if (ours.length !== ruleCount({ ...running.ruleset, published: [] })) {
      this.#rebuild();
      listing = this.#listing();
    }
    this.#foreign = await running.foreign.check(listing);
    this.#generation = this.#nftables.generation();
  }

  /** What a person should know: foreign rules, forwarding, what could not be done. */
  status(): [string, string][] {
    const running = this.#running;
    if (!running) return [];
    const lines: [string, string][] = [];
    const { tag } = running.foreign;
    for (const place of this.#foreign.places) {
      lines.push([
        "Foreign firewall rules",
        `${place} accepts what ${running.bridge.name} forwards (comment "${tag}")`,
      ]);
    }
    if (running.ruleset.guarded) {
      lines.push([
        "Forwarding",
        `switched on by this engine; between other links it stays dropped by table ip ${running.table}`,
      ]);
    }
    for (const problem of this.#foreign.problems) lines.push(["Firewall", problem]);
    return lines;
  }

  /** Stops watching and closes the sockets. With `removeAll` nothing of ours stays in the host's namespace. */
  async close(options: { removeAll: boolean }): Promise<void> {
    clearInterval(this.#watch);
    await this.#starting?.catch(() => undefined);
    const errors: unknown[] = [];
    if (options.removeAll) {
      for (const step of this.#removals()) {
        try {
          await step();
        } catch (thrown) {
          errors.push(thrown);
        }
      }
    }
    this.#running = undefined;
    for (const socket of [this.#route, this.#nftables, this.#conntrack]) socket[Symbol.dispose]();
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, "Cannot remove all of the network");
  }

  *#removals(): Generator<() => void | Promise<void>> {
    const record = this.#record();
    const { bridge, table } = record;
    if (!bridge || !table) return;
    const foreign =
      this.#running?.foreign ?? new ForeignFirewalls({ nftables: this.#nftables, ownTable: table, bridge });
    yield () => foreign.remove();
    yield () => this.#removeTable(table);
    yield () => {
      const link = this.#route.findLink(bridge);
      if (!link || !this.#isOurs(link)) return;
      for (const port of this.#route.links()) if (port.master === link.index) this.deleteLink(port.name);
      this.deleteLink(bridge);
    };
    yield () => {
      const { id, name, driver, created } = record;
      this.#store.saveNetwork({ id, name, driver, created });
    };
  }

  #removeTable(table: string): void {
    const chains = this.#nftables.chains();
    const removeTable = () => {
      // Adding first: a table that is not there is well.
      this.#nftables.commit(new NftBatch(nftFamily.ip).addTable(table).deleteTable(table));
    };
    const guarded = chains.some((chain) => chain.table === table && chain.name === guardChain);
    if (!guarded) return removeTable();
    const otherGuards = () =>
      this.#nftables.chains().some((chain) => chain.name === guardChain && chain.table !== table);
    switchForwardingBack({ otherGuards, removeTable });
  }

  async #start(): Promise<Running> {
    const record = this.#record();
    const { bridge, subnet } = this.#bridgeUp(record);
    const table = this.#chooseTable(record);
    this.#store.saveNetwork({ ...record, bridge: bridge.name, table, subnet: formatSubnet(subnet) });
    letLoopbackIn(bridge.name);
    const ruleset = { table, bridge: bridge.name, subnet, guarded: needsGuard(this.#nftables.chains()) };
    const foreign = new ForeignFirewalls({ nftables: this.#nftables, ownTable: table, bridge: bridge.name });
    this.#running = { bridge, table, subnet, gateway: gatewayOf(subnet), ruleset, foreign };
    this.#rebuild();
    switchForwardingOn();
    await this.check();
    this.#watch ??= setInterval(() => void this.#tick(), watchIntervalMs);
    this.#watch.unref();
    return this.#running;
  }

  async #tick(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      const legacyDue = ++this.#ticks % legacyEveryTicks === 0 && isLegacyFilterInUse();
      if (legacyDue || this.#nftables.generation() !== this.#generation) await this.check();
    } catch (thrown) {
      this.#foreign = { places: this.#foreign.places, problems: [toEngineError(thrown).message] };
    } finally {
      this.#checking = false;
    }
  }

  /** Our bridge with its address: the one that is there, or a new one with a free name and subnet. */
  #bridgeUp(record: NetworkRecord): { bridge: Link; subnet: Subnet } {
    const mine = record.bridge === undefined ? undefined : this.#route.findLink(record.bridge);
    const reused = mine && this.#isOurs(mine) ? mine : undefined;
    const subnet = this.#subnetFor(record, reused);
    const links = new Map(this.#route.links().map((link) => [link.name, link]));
    const name = reused?.name ?? freeName(this.#instance.bridgeName, (candidate) => links.has(candidate));
    if (!reused) {
      const request = { name, macAddress: macAddressOf(gatewayOf(subnet)), mtu: this.#mtu(links), group: linkGroup };
      this.#route.createBridge(request);
    }
    const bridge = this.#route.findLink(name);
    if (!bridge) throw new EngineError("internal", `Bridge "${name}" vanished`);
    const addresses = this.#route.addresses().filter((address) => address.linkIndex === bridge.index);
    if (!addresses.some(({ address }) => address === gatewayOf(subnet))) {
      this.#route.addAddress(bridge.index, { address: gatewayOf(subnet), prefixLength: subnet.prefixLength });
    }
    if (!bridge.up) this.#route.setLink(bridge.index, { up: true });
    return { bridge, subnet };
  }

  #subnetFor(record: NetworkRecord, reused: Link | undefined): Subnet {
    const taken = this.#takenSubnets(reused?.index);
    if (this.#instance.subnet !== undefined) {
      const wanted = parseSubnet(this.#instance.subnet);
      const other = taken.find((subnet) => overlaps(subnet, wanted));
      if (!other) return wanted;
      throw new EngineError(
        "conflict",
        `subnet "${this.#instance.subnet}" overlaps ${formatSubnet(other)}, which the host has already`,
      );
    }
    const before = record.subnet === undefined ? undefined : parseSubnet(record.subnet);
    if (before && !taken.some((subnet) => overlaps(subnet, before))) return before;
    return chooseSubnet(taken);
  }

  /** Networks that the host reaches or is in, but for our own bridge's. */
  #takenSubnets(ownIndex: number | undefined): Subnet[] {
    const routes = this.#route
      .routes()
      .filter((route) => route.prefixLength > 0 && route.linkIndex !== ownIndex)
      .map((route) => subnetOf(route.destination, route.prefixLength));
    const addresses = this.#route
      .addresses()
      .filter((address) => address.linkIndex !== ownIndex)
      .map((address) => subnetOf(address.address, address.prefixLength));
    return [...routes, ...addresses];
  }

  /** No larger than what the way out takes: not every network tells a sender that its packets were too long. */
  #mtu(links: ReadonlyMap<string, Link>): number {
    const way = this.#route.routes().find((route) => route.prefixLength === 0);
    const link = [...links.values()].find((candidate) => candidate.index === way?.linkIndex);
    return Math.min(standardMtu, link?.mtu ?? standardMtu);
  }

  #isOurs(link: Link | undefined): boolean {
    return link !== undefined && link.kind === "bridge" && link.group === linkGroup;
  }

  #chooseTable(record: NetworkRecord): string {
    if (record.table !== undefined) return record.table;
    const tables = new Set(this.#nftables.tables().map((table) => table.name));
    return freeName(this.#instance.tableName, (candidate) => tables.has(candidate));
  }

  #rebuild(): void {
    const running = this.#running;
    if (!running) return;
    const published = this.#store.all().flatMap(({ settings, published: ports }: EndpointRecord) => {
      return settings?.IPAddress ? [{ address: settings.IPAddress, ports }] : [];
    });
    this.#nftables.commit(rulesetBatch({ ...running.ruleset, published }));
  }

  /** A commit of our own is no reason to look for others' changes. */
  #commit(batch: NftBatch): void {
    if (batch.messages.length === 0) return;
    this.#nftables.commit(batch);
    const generation = this.#nftables.generation();
    if (generation === this.#generation + 1) this.#generation = generation;
  }

  #listing(): FirewallListing {
    return { chains: this.#nftables.chains(), rules: this.#nftables.rules() };
  }

  #record(): NetworkRecord {
    const record = this.#store.network(networkName);
    if (!record) throw new EngineError("internal", `network "${networkName}" is not in the database`);
    return record;
  }
}

/** The wanted name, or with the next free number at its end. */
function freeName(wanted: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(wanted)) return wanted;
  const [, stem = wanted, digits = ""] = /^(.*?)(\d*)$/.exec(wanted) ?? [];
  for (let number = Number(digits) + 1; number < maxNameNumber; number++) {
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
