import { existsSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { defaultRegistryLimits } from "./server-options.ts";
import { RegistryRecords, type ManifestTimes, type TagTimes } from "./server-records.ts";
import { matchesRepository, matchesTagPattern } from "./server-patterns.ts";
import { readDuration, readJsonList, readPatterns, readTexts, requireKnown, wrong } from "./server-rule-file.ts";

/**
 * What of some repositories goes. A tag goes when its name matches `tags` and none of `protect`, and each condition that the rule has holds: it
 * is not among the `keepLast` that were pushed last, it was pushed before `olderThanMs`, nobody asked for it since `notPulledForMs`. A manifest
 * goes when it has had no tag for `untaggedAfterMs`, nor a push or pull, and no index that stays names it, nor is it about one that stays.
 */
export interface RetentionRule {
  readonly repositories: readonly string[];
  /** Patterns with `*` and `?`. */
  readonly tags: readonly string[];
  readonly protect: readonly string[];
  readonly keepLast: number | undefined;
  readonly olderThanMs: number | undefined;
  readonly notPulledForMs: number | undefined;
  readonly untaggedAfterMs: number | undefined;
}

/** One thing that goes, or would: a tag, or a manifest. */
export interface Retired {
  readonly repository: string;
  readonly digest: string;
  /** Undefined for a manifest without one. */
  readonly tag: string | undefined;
  /** For people. */
  readonly why: string;
}

const known = ["repositories", "tags", "protect", "keepLast", "olderThan", "notPulledFor", "untaggedAfter"];
const repositoriesAPage = 500;
const dayMs = 86_400_000;

/**
 * Reads a JSON file: a list of `{"repositories": ["team/*"], "tags": ["pr-*"], "protect": ["v*"], "keepLast": 10, "olderThan": "720h",
 * "notPulledFor": "2160h", "untaggedAfter": "168h"}`. Throws `invalidArgument` with the place of what cannot be used.
 */
export function readRetention(path: string): RetentionRule[] {
  return readJsonList(path).map((entry, index) => {
    const where = `${path}[${index}]`;
    requireKnown(entry, { known, where });
    const { keepLast } = entry;
    if (keepLast !== undefined && !(typeof keepLast === "number" && Number.isSafeInteger(keepLast) && keepLast >= 0)) {
      throw wrong(`"keepLast" of ${where} is no number of tags`);
    }
    const rule = {
      repositories: readPatterns(entry.repositories ?? ["*"], { field: "repositories", where }),
      tags: readTexts(entry.tags ?? ["*"], { field: "tags", where }),
      protect: entry.protect === undefined ? [] : readTexts(entry.protect, { field: "protect", where }),
      keepLast: keepLast as number | undefined,
      olderThanMs: readDuration(entry, { field: "olderThan", where }),
      notPulledForMs: readDuration(entry, { field: "notPulledFor", where }),
      untaggedAfterMs: readDuration(entry, { field: "untaggedAfter", where }),
    };
    if (!takesTags(rule) && rule.untaggedAfterMs === undefined)
      throw wrong(`${where} has no condition: nothing would go`);
    return rule;
  });
}

/** `retire` in a root, beside a server that may be running. Throws `notFound` where no registry is, `conflict` for a cache. */
export function retireNow({
  root,
  ...what
}: {
  root: string;
  rules: readonly RetentionRule[];
  apply: boolean;
}): Retired[] {
  const path = join(root, "registry.db");
  if (!existsSync(path)) throw new EngineError("notFound", `No registry is in "${root}"`);
  using records = new RegistryRecords(path);
  const upstream = records.upstream();
  if (upstream === undefined) return retire(records, { ...what, graceMs: defaultRegistryLimits.graceMs });
  throw new EngineError("conflict", `"${root}" is a cache of "${upstream}", which expires by itself`);
}

/**
 * What goes by these rules now; with `apply`, it is gone when this returns. Each repository is one transaction: a tag that is pushed or
 * asked for meanwhile is judged by that. Blobs that nothing needs any more are then the collector's. `graceMs` is the least age of
 * a manifest without a tag, since a push of an index begins with its parts.
 */
export function retire(
  records: RegistryRecords,
  { rules, apply, graceMs }: { rules: readonly RetentionRule[]; apply: boolean; graceMs: number },
): Retired[] {
  if (rules.length === 0) return [];
  return inEachRepository(records, (repository) => {
    const own = rules.filter(({ repositories }) => repositories.some((text) => matchesRepository(text, repository)));
    return own.length === 0 ? [] : retireIn(records, repository, { rules: own, apply, graceMs });
  });
}

/** What a cache lets go: manifests, with their tags, that nobody asked for since then. What needs one of them gets it again. */
export function expireUnused(records: RegistryRecords, unusedSinceMs: number): Retired[] {
  return inEachRepository(records, (repository) => {
    const old = records.manifestTimes(repository).filter(({ usedAtMs }) => usedAtMs < unusedSinceMs);
    for (const { digest } of old) records.deleteManifest(repository, digest);
    return old.map(({ digest }) => ({ repository, digest, tag: undefined, why: "was not asked for" }));
  });
}

function inEachRepository(records: RegistryRecords, work: (repository: string) => Retired[]): Retired[] {
  const retired: Retired[] = [];
  for (let last = ""; ;) {
    const names = records.repositories({ last, limit: repositoriesAPage });
    for (const repository of names) retired.push(...records.atOnce(() => work(repository)));
    const end = names.at(-1);
    if (names.length < repositoriesAPage || end === undefined) return retired;
    last = end;
  }
}

function retireIn(
  records: RegistryRecords,
  repository: string,
  { rules, apply, graceMs }: { rules: readonly RetentionRule[]; apply: boolean; graceMs: number },
): Retired[] {
  const nowMs = Date.now();
  const all = records.tagTimes(repository);
  const reasons = new Map<string, string>();
  for (const rule of rules) {
    for (const [tag, why] of tagsOf(rule, all, nowMs)) if (!reasons.has(tag)) reasons.set(tag, why);
  }
  const tags = all
    .filter(({ tag }) => reasons.has(tag))
    .map(({ tag, digest }) => ({ repository, digest, tag, why: reasons.get(tag) ?? "" }));
  // Read before the tags go: what loses its last tag now has been in use until now, and goes when its own time has come.
  const ages = rules.flatMap(({ untaggedAfterMs }) => (untaggedAfterMs === undefined ? [] : [untaggedAfterMs]));
  const manifests =
    ages.length === 0 ? [] : untagged(records, repository, { afterMs: Math.max(graceMs, Math.min(...ages)), nowMs });
  if (apply) {
    for (const { tag } of tags) records.deleteTag(repository, tag);
    for (const { digest } of manifests) records.deleteManifest(repository, digest);
  }
  return [...tags, ...manifests];
}

function takesTags(rule: Pick<RetentionRule, "keepLast" | "olderThanMs" | "notPulledForMs">): boolean {
  return rule.keepLast !== undefined || rule.olderThanMs !== undefined || rule.notPulledForMs !== undefined;
}

/** Tags that the rule takes, with the reason; `all` are those pushed last first. */
function tagsOf(rule: RetentionRule, all: readonly TagTimes[], nowMs: number): [string, string][] {
  if (!takesTags(rule)) return [];
  const { keepLast = 0, olderThanMs = 0, notPulledForMs = 0 } = rule;
  const matching = all
    .filter(({ tag }) => rule.tags.some((pattern) => matchesTagPattern(pattern, tag)))
    .filter(({ tag }) => !rule.protect.some((pattern) => matchesTagPattern(pattern, tag)));
  return matching
    .slice(keepLast)
    .filter(({ pushedAtMs, usedAtMs }) => nowMs - pushedAtMs >= olderThanMs && nowMs - usedAtMs >= notPulledForMs)
    .map(({ tag, pushedAtMs, usedAtMs }) => {
      const parts = [`pushed ${days(nowMs - pushedAtMs)} ago`, `last used ${days(nowMs - usedAtMs)} ago`];
      if (rule.keepLast !== undefined) parts.push(`not among the last ${rule.keepLast}`);
      return [tag, parts.join(", ")];
    });
}

function untagged(
  records: RegistryRecords,
  repository: string,
  { afterMs, nowMs }: { afterMs: number; nowMs: number },
): Retired[] {
  const all = records.manifestTimes(repository);
  const inUse = all.filter(({ usedAtMs }) => nowMs - usedAtMs < afterMs);
  const kept = keptBy(records, repository, { all, inUse });
  return all
    .filter(({ digest }) => !kept.has(digest))
    .map(({ digest, usedAtMs }) => ({
      repository,
      digest,
      tag: undefined,
      why: `has no tag, last used ${days(nowMs - usedAtMs)} ago`,
    }));
}

/** Manifests with a tag and those in use, what their indexes name, and what is about any of these. */
function keptBy(
  records: RegistryRecords,
  repository: string,
  { all, inUse }: { all: readonly ManifestTimes[]; inUse: readonly ManifestTimes[] },
): Set<string> {
  const neighbours = new Map<string, string[]>();
  const connect = (from: string, to: string): void => void neighbours.set(from, [...(neighbours.get(from) ?? []), to]);
  for (const { manifest, digest } of records.manifestChildren(repository)) connect(manifest, digest);
  for (const { digest, subject } of all) if (subject !== null) connect(subject, digest);
  const kept = new Set<string>();
  const waiting = [...records.tagTimes(repository), ...inUse].map(({ digest }) => digest);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (kept.has(next)) continue;
    kept.add(next);
    waiting.push(...(neighbours.get(next) ?? []));
  }
  return kept;
}

function days(durationMs: number): string {
  const count = Math.floor(durationMs / dayMs);
  return count === 1 ? "1 day" : `${count} days`;
}
