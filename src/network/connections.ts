import { Conntrack } from "../kernel/index.ts";

const drainDelayMs = 20;
/** From here on the kernel filters, with one walk of its table an address and direction; below it one walk serves all. */
const manyConnections = 2000;

/** The connections that the kernel follows for addresses of containers that are gone. */
export class Connections implements Disposable {
  readonly #conntrack = new Conntrack();
  readonly #draining = new Set<string>();
  #drain: Promise<void> | undefined;
  readonly #udpPorts = new Set<number>();
  #udpLook: Promise<void> | undefined;

  [Symbol.dispose](): void {
    this.#conntrack[Symbol.dispose]();
  }

  /** Addresses whose old connections are still followed: not to be given away yet. */
  get draining(): ReadonlySet<string> {
    return this.#draining;
  }

  /** Ends every connection of the address, soon: it costs milliseconds, which are spent once for many. */
  async forget(address: string): Promise<void> {
    this.#draining.add(address);
    this.#drain ??= this.#drainSoon().finally(() => {
      this.#drain = undefined;
    });
    await this.#drain;
  }

  /** Ends UDP flows to host ports that were begun before these were published. Containers that start at once share one look. */
  async forgetUdpTo(ports: readonly number[]): Promise<void> {
    if (ports.length === 0 || this.#conntrack.count() === 0) return;
    for (const port of ports) this.#udpPorts.add(port);
    this.#udpLook ??= Bun.sleep(0).then(() => {
      this.#udpLook = undefined;
      const sought = new Set(this.#udpPorts);
      this.#udpPorts.clear();
      this.#conntrack.deleteUdpTo(sought);
    });
    await this.#udpLook;
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
}
