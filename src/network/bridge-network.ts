// The bridge driver: what one engine owns in the host's network namespace, and the way of one container into it.
import { EngineError, toEngineError } from "../common/index.ts";
import { NftBatch, Nftables, RouteSocket, SystemError, nftFamily, type Link } from "../kernel/index.ts";
import { bringBridgeUp, freeName, isOurBridge, type NetworkInstance } from "./bridge-link.ts";
import { Connections } from "./connections.ts";
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
import { formatSubnet, gatewayOf, type Subnet } from "./subnet.ts";

const networkName = "bridge";
/** How often another firewall's reload is looked for: one request of 20 µs. */
const watchIntervalMs = 1000;
/** The old filter tells nothing of changes, and asking it starts a program. */
const legacyEveryTicks = 30;

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
  /** Connections that outlive their containers. */
  readonly connections = new Connections();
  #starting: Promise<Running> | undefined;
  #running: Running | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
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
    return bridge !== undefined && isOurBridge(this.#route.findLink(bridge));
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
    await this.connections.forgetUdpTo(ports.filter((port) => port.protocol === "udp").map((port) => port.hostPort));
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
    for (const socket of [this.#route, this.#nftables, this.connections]) socket[Symbol.dispose]();
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
      if (!link || !isOurBridge(link)) return;
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
    const { bridge, subnet } = bringBridgeUp(this.#route, { instance: this.#instance, record });
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
