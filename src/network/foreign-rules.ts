// An accept in our table cannot override a drop in another one. Where another firewall drops what is forwarded, two rules a bridge
// go into its own chain, tagged by a comment. That is the only foreign thing we change, and it is taken back at shutdown.
import { EngineError } from "../common/index.ts";
import {
  NftBatch,
  Nftables,
  counter,
  fromInterface,
  nftFamily,
  nftHook,
  readAttributes,
  readText,
  toInterface,
  verdict,
  verdictCode,
  type ListedChain,
  type ListedRule,
} from "../kernel/index.ts";

/** Chain that Docker leaves to the administrator, first in its FORWARD and never flushed by it. */
const adminChain = "DOCKER-USER";
const maxJumpDepth = 16;
/** Expressions that neither match nor decide. */
const neutral = new Set(["counter", "log"]);

/** A chain into which our rules belong, or where they are. */
export interface ForeignPlace {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
}

/** A firewall's rules as of one moment. */
export interface FirewallListing {
  readonly chains: readonly ListedChain[];
  readonly rules: readonly ListedRule[];
}

/** Where rules are needed: once for each foreign base chain at the forward hook that drops what nothing in it accepted. */
export function placesThatDrop(listing: FirewallListing, options: { ownTable: string; tag: string }): ForeignPlace[] {
  const places: ForeignPlace[] = [];
  for (const chain of listing.chains) {
    if (chain.hook !== nftHook.forward || (chain.family !== nftFamily.ip && chain.family !== nftFamily.inet)) continue;
    if (chain.family === nftFamily.ip && chain.table === options.ownTable) continue;
    const decided = fate(listing, { place: toPlace(chain), tag: options.tag }) ?? chain.policy;
    if (decided !== "drop") continue;
    places.push(adminPlace(listing, chain) ?? toPlace(chain));
  }
  return places;
}

function toPlace(chain: ListedChain): ForeignPlace {
  return { family: chain.family, table: chain.table, chain: chain.name };
}

function inPlace(item: ForeignPlace, place: ForeignPlace): boolean {
  return item.family === place.family && item.table === place.table && item.chain === place.chain;
}

function adminPlace(listing: FirewallListing, chain: ListedChain): ForeignPlace | undefined {
  const place = { ...toPlace(chain), chain: adminChain };
  const reached = listing.rules.some((rule) => inPlace(rule, toPlace(chain)) && verdictOf(rule)?.chain === adminChain);
  const exists = listing.chains.some(
    (other) => other.name === adminChain && other.table === chain.table && other.family === chain.family,
  );
  return reached && exists ? place : undefined;
}

/** What a chain does with a packet that no condition matches: rules that match everything, in order; undefined: it returns. */
function fate(
  listing: FirewallListing,
  at: { place: ForeignPlace; tag: string; depth?: number },
): "accept" | "drop" | undefined {
  const depth = at.depth ?? 0;
  if (depth > maxJumpDepth) return undefined;
  for (const rule of listing.rules) {
    if (!inPlace(rule, at.place) || rule.comment === at.tag || !matchesEverything(rule)) continue;
    if (rejects(rule)) return "drop";
    const decision = verdictOf(rule);
    if (!decision) continue;
    if (decision.code === verdictCode.accept) return "accept";
    if (decision.code === verdictCode.drop) return "drop";
    if (decision.code === verdictCode.return) return undefined;
    const target = { ...at.place, chain: decision.chain };
    const inner = fate(listing, { place: target, tag: at.tag, depth: depth + 1 });
    if (inner || decision.code === verdictCode.goto) return inner;
  }
  return undefined;
}

function matchesEverything(rule: ListedRule): boolean {
  return rule.expressions.every(({ name, data }) => {
    if (neutral.has(name) || name === "immediate" || name === "reject" || name === "target") return true;
    return name === "match" && readText(readAttributes(data).get(1)) === "comment";
  });
}

/** nf_tables' own `reject`, or an iptables target that ends the packet. */
function rejects(rule: ListedRule): boolean {
  return rule.expressions.some(({ name, data }) => {
    if (name === "reject") return true;
    return name === "target" && ["REJECT", "DROP"].includes(readText(readAttributes(data).get(1)));
  });
}

function verdictOf(rule: ListedRule): { code: number; chain: string } | undefined {
  const immediate = rule.expressions.find(({ name }) => name === "immediate");
  if (!immediate) return undefined;
  const value = readAttributes(readAttributes(immediate.data).get(2) ?? Buffer.alloc(0)).get(2);
  if (!value) return undefined;
  const parts = readAttributes(value);
  return { code: parts.get(1)?.readInt32BE(0) ?? 0, chain: readText(parts.get(2)) };
}

/** Our two rules, wherever they are needed in other firewalls of nf_tables (also what iptables-nft shows). */
export class ForeignRules {
  readonly #nftables: Nftables;
  readonly #bridge: string;
  /** The comment by which we, and people, know our rules. */
  readonly tag: string;

  constructor(options: { nftables: Nftables; ownTable: string; bridge: string }) {
    this.#nftables = options.nftables;
    this.#bridge = options.bridge;
    this.tag = `vitrine ${options.ownTable} ${options.bridge}`;
  }

  /** Chains that have rules of ours, and are not among `wanted`. */
  remains(listing: FirewallListing, wanted: readonly ForeignPlace[]): ForeignPlace[] {
    const mine = listing.rules.filter((rule) => rule.comment === this.tag);
    const stray = mine.filter((rule) => !wanted.some((place) => inPlace(rule, place)));
    return stray.filter((rule, index) => stray.findIndex((other) => inPlace(other, rule)) === index);
  }

  /** Puts our two rules at the chain's start, unless both are in it. */
  addTo(listing: FirewallListing, place: ForeignPlace): void {
    const present = this.#mine(listing, place);
    if (present.length === 2) return;
    const batch = new NftBatch(place.family);
    for (const rule of present) batch.deleteRule(rule);
    for (const side of [fromInterface, toInterface]) {
      const expressions = [...side(this.#bridge), ...counter(), ...verdict("accept")];
      batch.addRule({ table: place.table, chain: place.chain, expressions, comment: this.tag, first: true });
    }
    this.#nftables.commit(batch);
  }

  deleteFrom(listing: FirewallListing, place: ForeignPlace): void {
    const batch = new NftBatch(place.family);
    for (const rule of this.#mine(listing, place)) batch.deleteRule(rule);
    this.#nftables.commit(batch);
  }

  #mine(listing: FirewallListing, place: ForeignPlace): ListedRule[] {
    return listing.rules.filter((rule) => rule.comment === this.tag && inPlace(rule, place));
  }

  /** Takes all our rules out of other firewalls. */
  remove(): void {
    const mine = this.#nftables.rules().filter((rule) => rule.comment === this.tag);
    for (const rule of mine) {
      try {
        this.#nftables.commit(new NftBatch(rule.family).deleteRule(rule));
      } catch (thrown) {
        // Its firewall went away between the listing and now.
        if (!(thrown instanceof EngineError && thrown.code === "notFound")) throw thrown;
      }
    }
  }
}

export function formatPlace(place: ForeignPlace): string {
  const family = place.family === nftFamily.inet ? "inet" : "ip";
  return `${family} ${place.table} ${place.chain}`;
}
