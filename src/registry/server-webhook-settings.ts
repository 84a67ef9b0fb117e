import type { Happening } from "./server-events.ts";
import { matchesRepository } from "./server-patterns.ts";
import { readDuration, readJsonList, readPatterns, readTexts, requireKnown, wrong } from "./server-rule-file.ts";

/** One place that is told what happens. Times in milliseconds. */
export interface WebhookSettings {
  /** Names it in the log, the metrics and the queue: what waits for it is found again by this after a restart. */
  readonly name: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For one attempt. */
  readonly timeoutMs: number;
  /** The wait after the first failure; doubled after each further one, up to five minutes. */
  readonly backoffMs: number;
  readonly actions: readonly Happening["action"][];
  readonly kinds: readonly Happening["kind"][];
  /** `*`, `team/*` or a name. */
  readonly repositories: readonly string[];
}

const actions = ["push", "pull", "mount", "delete"] as const;
const kinds = ["manifest", "blob"] as const;
const defaults = { timeoutMs: 5000, backoffMs: 1000 };
const known = ["name", "url", "headers", "timeout", "backoff", "actions", "kinds", "repositories"];

/**
 * Reads a JSON file: a list of `{"name", "url", "headers": {…}, "timeout": "5s", "backoff": "1s", "actions": ["push", "delete"],
 * "kinds": ["manifest"], "repositories": ["*"]}`, of which name and url must be there and the others have these values by default.
 * Throws `invalidArgument` with the place of what cannot be used.
 */
export function readWebhooks(path: string): WebhookSettings[] {
  const entries = readJsonList(path);
  const hooks = entries.map((entry, index) => readHook(entry, `${path}[${index}]`));
  const names = hooks.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(`"${path}" names "${twice}" twice`);
  return hooks;
}

/** Whether that place wants to know. */
export function isWanted(hook: WebhookSettings, happening: Happening): boolean {
  return (
    hook.actions.includes(happening.action) &&
    hook.kinds.includes(happening.kind) &&
    hook.repositories.some((pattern) => matchesRepository(pattern, happening.repository))
  );
}

function readHook(entry: Readonly<Record<string, unknown>>, where: string): WebhookSettings {
  requireKnown(entry, { known, where });
  const { name, url } = entry;
  if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name)) throw wrong(`"name" of ${where} is no short word`);
  if (typeof url !== "string" || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw wrong(`"url" of ${where} is no http:// or https:// address`);
  }
  return {
    name,
    url,
    headers: readHeaders(entry.headers ?? {}, where),
    timeoutMs: readDuration(entry, { field: "timeout", where }) ?? defaults.timeoutMs,
    backoffMs: readDuration(entry, { field: "backoff", where }) ?? defaults.backoffMs,
    actions: readChoice(entry.actions ?? ["push", "delete"], { field: "actions", where, choices: actions }),
    kinds: readChoice(entry.kinds ?? ["manifest"], { field: "kinds", where, choices: kinds }),
    repositories: readPatterns(entry.repositories ?? ["*"], { field: "repositories", where }),
  };
}

function readHeaders(value: unknown, where: string): Record<string, string> {
  const entries = typeof value === "object" && value !== null ? Object.entries(value as object) : [];
  if (Array.isArray(value) || typeof value !== "object") throw wrong(`"headers" of ${where} is no object`);
  for (const [name, text] of entries) {
    const isHeader = /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && typeof text === "string" && !/[\r\n\0]/.test(text);
    if (!isHeader) throw wrong(`The header "${name}" of ${where} cannot be sent`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function readChoice<T extends string>(
  value: unknown,
  { field, where, choices }: { field: string; where: string; choices: readonly T[] },
): T[] {
  const list = readTexts(value, { field, where });
  const other = list.find((word) => !(choices as readonly string[]).includes(word));
  if (other !== undefined) throw wrong(`"${other}" in "${field}" of ${where} is none of ${choices.join(", ")}`);
  return list as T[];
}
