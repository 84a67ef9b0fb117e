import type { Database } from "bun:sqlite";
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { EngineError, newId, shortId, toEngineError, type Paths } from "../common/index.ts";
import { mount, readMounts } from "../kernel/index.ts";
import type { NetworkResource } from "../spec/index.ts";
import {
  bridgeEndpoint,
  closeReserved,
  simpleEndpoint,
  toAttachment,
  type AttachRequest,
  type Attachment,
} from "./attachment.ts";
import { hasSpoken, linkExists, type NetworkInstance } from "./bridge-link.ts";
import { BridgeNetwork, type Running } from "./bridge-network.ts";
import { EndpointStore, type EndpointRecord } from "./endpoint-store.ts";
import { NamespacePool, type PreparedNamespace } from "./namespace-pool.ts";
import { NamespaceServer } from "./namespace-server.ts";
import { networkResource } from "./network-resource.ts";
import { requestedPorts, reservePorts, type ReservedPorts } from "./published-ports.ts";
import { readResolvConf } from "./resolv-conf.ts";
import { linkGroup } from "./ruleset.ts";

const interfaceName = "eth0";
const linkGoneWithinMs = 1000;
const linkPollMs = 20;

/**
 * Networks of one engine: `attach` before a container starts, `detach` once it has ended, `reconcile` after a crash, `close` last.
 * The bridge comes up before the first container that needs it.
 */
export class NetworkService {
  readonly #paths: Paths;
  readonly #store: EndpointStore;
  readonly #bridge: BridgeNetwork;
  readonly #server: NamespaceServer;
  readonly #pool: NamespacePool;
  /** Work that nobody waits for but `close`. */
  readonly #background = new Set<Promise<void>>();
  #pooling: Promise<void> | undefined;

  constructor(options: { paths: Paths; db: Database; instance: NetworkInstance; helperPath: string }) {
    this.#paths = options.paths;
    this.#store = new EndpointStore(options.db);
    this.#bridge = new BridgeNetwork({ instance: options.instance, store: this.#store });
    this.#server = new NamespaceServer({ helperPath: options.helperPath });
    this.#pool = new NamespacePool({ server: this.#server, directory: join(options.paths.run, "netns") });
  }

  /** Bridge, table, forwarding, rules in other firewalls, pool. Idempotent; `attach` calls it. */
  async start(): Promise<void> {
    await this.#startPool();
    await this.#bridge.start();
  }

  /** All of it or nothing. A taken port is refused with Docker's words. */
  async attach(request: AttachRequest): Promise<Attachment> {
    const mode = request.networkMode === "default" || request.networkMode === "" ? "bridge" : request.networkMode;
    if (this.#store.find(request.containerId)) await this.detach(request.containerId);
    if (mode.startsWith("container:")) return this.#attachToContainer(request, mode.slice("container:".length));
    if (mode === "host") return this.#attachToHost(request);
    if (mode === "none") return this.#attachToNothing(request);
    if (mode === "bridge") return this.#attachToBridge(request);
    throw new EngineError("notFound", `network ${mode} not found`);
  }

  /**
   * Takes a container off its network: its ports are free, and its address is nobody's, when the call returns its promise, which
   * resolves once its namespace is let go. Idempotent; goes on after an error, and throws what it met.
   */
  async detach(containerId: string): Promise<void> {
    const endpoint = this.#store.find(containerId);
    if (!endpoint) return;
    const errors: unknown[] = [];
    const attempt = (action: () => void) => {
      try {
        action();
      } catch (thrown) {
        errors.push(thrown);
      }
    };
    const { link, settings, published, namespacePath } = endpoint;
    const address = settings?.IPAddress ?? "";
    const spoke = link !== undefined && hasSpoken(link);
    if (link) {
      // Before the address goes to another: a namespace that is dying answers for it as long as its link is up.
      attempt(() => this.#silence(link));
      attempt(() => this.#bridge.unpublish(address, published));
      if (spoke) this.#inBackground(this.#bridge.connections.forget(address));
    }
    attempt(() => this.#store.delete(containerId));
    if (namespacePath && settings) {
      await this.#server.remove(namespacePath).catch((thrown: unknown) => errors.push(thrown));
    }
    if (link) this.#inBackground(this.#awaitLinkGone(link));
    throwAll(errors, `Cannot detach container ${shortId(containerId)}`);
  }

  /** What `attach` returned, from the database; descriptors are with the monitor. */
  attachmentOf(containerId: string): Attachment | undefined {
    const endpoint = this.#store.find(containerId);
    return endpoint && toAttachment(endpoint);
  }

  /** After a start of the engine: what belongs to no container of `live` goes, and what the live ones need is put right. */
  async reconcile(live: ReadonlySet<string>): Promise<void> {
    const errors: unknown[] = [];
    const attempt = async (action: () => void | Promise<void>) => {
      try {
        await action();
      } catch (thrown) {
        errors.push(thrown);
      }
    };
    for (const { containerId } of this.#store.all()) {
      if (!live.has(containerId)) await attempt(() => this.detach(containerId));
    }
    const bridged = this.#store.all().some((endpoint) => endpoint.link !== undefined);
    if (bridged || this.#bridge.isLeftOver()) {
      await attempt(() => this.start());
      await attempt(() => this.#bridge.deleteStrayLinks());
    }
    await attempt(() => this.#removeStrayNamespaces());
    throwAll(errors, "Cannot put the network right");
  }

  list(): NetworkResource[] {
    return this.#store.networks().map((network) => networkResource(network, this.#store.all()));
  }

  /** By name, id, or a beginning of the id that only one has. */
  inspect(idOrName: string): NetworkResource {
    const all = this.list();
    const exact = all.find((network) => network.Name === idOrName || network.Id === idOrName);
    if (exact) return exact;
    const begun = idOrName === "" ? [] : all.filter((network) => network.Id.startsWith(idOrName));
    if (begun.length > 1)
      throw new EngineError(
        "invalidArgument",
        `network ${idOrName} is ambiguous (${begun.length} matches found on name)`,
      );
    if (begun[0]) return begun[0];
    throw new EngineError("notFound", `network ${idOrName} not found`);
  }

  /** The text of a container's /etc/resolv.conf in this network mode. */
  resolvConf(mode: string): string {
    return readResolvConf({ ownNamespace: mode !== "host" && mode !== "none" });
  }

  /** For `info`: what a person should know, such as rules in other firewalls. Empty when there is nothing. */
  status(): [string, string][] {
    return this.#bridge.status();
  }

  /** Ends the service; running containers stay connected. With `removeAll` bridge, table, and foreign rules go as well. */
  async close(options: { removeAll: boolean }): Promise<void> {
    const errors: unknown[] = [];
    const steps = [
      () => Promise.all(this.#background),
      () => this.#pooling,
      () => this.#pool.close(),
      () => (options.removeAll ? this.#detachAll() : undefined),
      () => Promise.all(this.#background),
      () => this.#bridge.close(options),
      () => this.#server.close(),
    ];
    for (const step of steps) {
      try {
        await step();
      } catch (thrown) {
        errors.push(thrown);
      }
    }
    throwAll(errors, "Cannot close the network");
  }

  async #attachToBridge(request: AttachRequest): Promise<Attachment> {
    await using undo = new AsyncDisposableStack();
    const endpointId = newId();
    const reserved = this.#reserve(request, endpointId);
    undo.defer(() => closeReserved(reserved));
    await this.#startPool();
    const network = await this.#bridge.start();
    const prepared = await this.#pool.take();
    undo.defer(() => prepared.release());
    // From here on nothing waits until the record stands: two containers never choose one address.
    const endpoint = bridgeEndpoint(request, {
      networkId: this.#networkId("bridge"),
      endpointId,
      subnet: network.subnet,
      used: this.#store.addresses("bridge").union(this.#bridge.connections.draining),
      namespacePath: this.#paths.networkNamespace(request.containerId),
      reserved,
    });
    this.#store.insert(endpoint);
    undo.defer(() => this.#store.delete(request.containerId));
    const path = this.#hold(prepared, request.containerId);
    undo.defer(() => this.#server.remove(path));
    const link = endpoint.link ?? "";
    undo.defer(() => this.#bridge.deleteLink(link));
    this.#connect(prepared, { endpoint, network });
    await this.#bridge.publish(endpoint.settings?.IPAddress ?? "", reserved.published);
    undo.move();
    this.#inBackground(prepared.release());
    return toAttachment(endpoint, reserved);
  }

  #reserve(request: AttachRequest, endpointId: string): ReservedPorts {
    const requests = requestedPorts(request);
    try {
      return reservePorts(requests);
    } catch (thrown) {
      const { code, message, data } = toEngineError(thrown);
      const endpoint = `${request.containerName ?? shortId(request.containerId)} (${endpointId})`;
      const words = `driver failed programming external connectivity on endpoint ${endpoint}: ${message}`;
      throw new EngineError(code, words, { cause: thrown, data: { httpStatus: 500, ...data } });
    }
  }

  #connect(prepared: PreparedNamespace, to: { endpoint: EndpointRecord; network: Running }): void {
    const { settings, link = "" } = to.endpoint;
    if (!settings) return;
    const { bridge } = to.network;
    const namespaceDescriptor = openSync(prepared.path, "r");
    try {
      const peer = { name: interfaceName, macAddress: settings.MacAddress, namespaceDescriptor };
      this.#bridge.route.createVeth({ name: link, mtu: bridge.mtu, group: linkGroup, bridgeIndex: bridge.index, peer });
    } finally {
      closeSync(namespaceDescriptor);
    }
    const inside = prepared.route.findLink(interfaceName);
    if (!inside) throw new EngineError("internal", `"${interfaceName}" is not in its network namespace`);
    const { IPAddress: address, IPPrefixLen: prefixLength, Gateway: gateway } = settings;
    prepared.route.configure(inside.index, { address, prefixLength, gateway, ipv6: "off" });
  }

  async #attachToNothing(request: AttachRequest): Promise<Attachment> {
    await this.#startPool();
    const prepared = await this.#pool.take();
    try {
      const namespacePath = this.#paths.networkNamespace(request.containerId);
      const endpoint = simpleEndpoint(request, { id: this.#networkId("none"), name: "none", namespacePath });
      this.#store.insert(endpoint);
      try {
        this.#hold(prepared, request.containerId);
      } catch (thrown) {
        this.#store.delete(request.containerId);
        throw thrown;
      }
      return toAttachment(endpoint);
    } finally {
      this.#inBackground(prepared.release());
    }
  }

  #attachToHost(request: AttachRequest): Attachment {
    const endpoint = simpleEndpoint(request, { id: this.#networkId("host"), name: "host", namespacePath: undefined });
    this.#store.insert(endpoint);
    return toAttachment(endpoint);
  }

  #attachToContainer(request: AttachRequest, otherId: string): Attachment {
    const other = this.#store.find(otherId);
    if (!other) throw new EngineError("conflict", `cannot join network of a non running container: ${otherId}`);
    if (Object.values(request.portBindings).some((bindings) => bindings?.length)) {
      throw new EngineError(
        "invalidArgument",
        "conflicting options: port publishing and the container type network mode",
      );
    }
    const endpoint = {
      ...simpleEndpoint(request, { id: "", name: request.networkMode, namespacePath: other.namespacePath }),
      settings: undefined,
      hosts: other.hosts,
    };
    this.#store.insert(endpoint);
    return toAttachment(endpoint);
  }

  #networkId(name: string): string {
    return this.#store.network(name)?.id ?? "";
  }

  /** Binds a prepared namespace where its container's is looked for. */
  #hold(prepared: PreparedNamespace, containerId: string): string {
    const path = this.#paths.networkNamespace(containerId);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, "", { flag: "wx", mode: 0 });
    try {
      mount({ type: "bind", source: prepared.path, target: path, options: ["bind"] });
    } catch (thrown) {
      rmSync(path, { force: true });
      throw thrown;
    }
    return path;
  }

  #startPool(): Promise<void> {
    this.#pooling ??= this.#pool.start().catch((thrown: unknown) => {
      this.#pooling = undefined;
      throw thrown;
    });
    return this.#pooling;
  }

  #silence(link: string): void {
    const found = linkExists(link) ? this.#bridge.route.findLink(link) : undefined;
    if (found) this.#bridge.route.setLink(found.index, { up: false });
  }

  /** A link goes with its namespace, unless somebody else holds that: then it is deleted here. */
  async #awaitLinkGone(link: string): Promise<void> {
    for (const deadline = Date.now() + linkGoneWithinMs; linkExists(link);) {
      if (Date.now() > deadline) return this.#bridge.deleteLink(link);
      await Bun.sleep(linkPollMs);
    }
  }

  async #detachAll(): Promise<void> {
    const errors: unknown[] = [];
    for (const { containerId } of this.#store.all()) {
      await this.detach(containerId).catch((thrown: unknown) => errors.push(thrown));
    }
    throwAll(errors, "Cannot detach all containers");
  }

  async #removeStrayNamespaces(): Promise<void> {
    const known = new Set(this.#store.all().map((endpoint) => endpoint.namespacePath));
    const pool = join(this.#paths.run, "netns");
    const stray = readMounts("self")
      .filter((entry) => entry.type === "nsfs")
      .map((entry) => entry.target)
      .filter((path) => path.startsWith(`${this.#paths.run}/`) && path.endsWith("/netns") && !known.has(path))
      .filter((path) => dirname(path) !== pool);
    for (const path of stray) await this.#server.remove(path);
  }

  #inBackground(work: Promise<void>): void {
    // A failure leaves a mount or link that the next start's reconcile finds.
    const quiet = work.catch(() => undefined).finally(() => this.#background.delete(quiet));
    this.#background.add(quiet);
  }
}

function throwAll(errors: readonly unknown[], what: string): void {
  if (errors.length === 0) return;
  const reasons = errors.map((error) => toEngineError(error).message).join("; ");
  throw new EngineError("internal", `${what}: ${reasons}`, { cause: errors[0] });
}
