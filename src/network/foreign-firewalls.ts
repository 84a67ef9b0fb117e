import { toEngineError } from "../common/index.ts";
import { nftFamily, type Nftables } from "../kernel/index.ts";
import { FirewalldZone, firewalldTable } from "./firewalld.ts";
import { ForeignRules, formatPlace, placesThatDrop, type FirewallListing, type ForeignPlace } from "./foreign-rules.ts";
import { LegacyRules } from "./legacy-iptables.ts";

/** What other firewalls of the host were made to accept, for people. */
export interface ForeignState {
  /** `ip filter DOCKER-USER`, `iptables-legacy filter FORWARD`, `firewalld zone trusted`. */
  readonly places: readonly string[];
  /** Sentences about what could not be done: containers may be cut off. */
  readonly problems: readonly string[];
}

/**
 * Everything that we change outside our own table, for one bridge: `check` makes other firewalls accept what the bridge forwards where
 * they drop it, and takes that back where they drop it no longer; `remove` takes all of it back. A firewall that refuses is no reason not to start.
 */
export class ForeignFirewalls {
  readonly #rules: ForeignRules;
  readonly #legacy: LegacyRules;
  readonly #zone: FirewalldZone;
  readonly #ownTable: string;

  constructor(options: { nftables: Nftables; ownTable: string; bridge: string }) {
    this.#ownTable = options.ownTable;
    this.#rules = new ForeignRules(options);
    this.#legacy = new LegacyRules({ bridge: options.bridge, tag: this.#rules.tag });
    this.#zone = new FirewalldZone(options);
  }

  /** The comment of our rules. */
  get tag(): string {
    return this.#rules.tag;
  }

  async check(listing: FirewallListing): Promise<ForeignState> {
    const places: string[] = [];
    const problems: string[] = [];
    const attempt = async (action: () => void | Promise<void>) => {
      try {
        await action();
      } catch (thrown) {
        problems.push(toEngineError(thrown).message);
      }
    };
    const dropping = placesThatDrop(listing, { ownTable: this.#ownTable, tag: this.tag });
    const byZone = dropping.some(isFirewalld) && (await this.#zone.isRunning());
    for (const place of this.#rules.remains(listing, dropping))
      await attempt(() => this.#rules.deleteFrom(listing, place));
    for (const place of dropping) {
      await attempt(async () => {
        if (isFirewalld(place) && byZone) places.push(await this.#zone.enter());
        else {
          this.#rules.addTo(listing, place);
          places.push(formatPlace(place));
        }
      });
    }
    await attempt(async () => {
      const { chain, problem } = await this.#legacy.check();
      if (chain) places.push(`iptables-legacy filter ${chain}`);
      if (problem) problems.push(problem);
    });
    return { places, problems };
  }

  async remove(): Promise<void> {
    this.#rules.remove();
    await this.#legacy.remove();
    await this.#zone.leave();
  }
}

function isFirewalld(place: ForeignPlace): boolean {
  return place.family === nftFamily.inet && place.table === firewalldTable;
}
