import type { Flag } from "./command.ts";
import { UsageError } from "./usage-error.ts";

/** `--platform` of the commands that look at images here: `what` begins the help text. */
export function platformFlag(what: string, kind: "string" | "strings" = "string"): Flag {
  const description = `${what}. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`;
  return { name: "platform", kind, description };
}

/** `linux/arm64/v8` as engines take it in a query since API 1.46: an object of OCI in JSON. Undefined for undefined. */
export function platformQuery(text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9._-]+$/.test(part))) {
    throw new UsageError(`invalid platform: "${text}" is not os[/arch[/variant]]`);
  }
  const [first = "", second, variant] = parts;
  const [os, architecture] = second === undefined ? ["linux", first] : [first, second];
  const names: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64" };
  return JSON.stringify({ architecture: names[architecture] ?? architecture, os, ...(variant ? { variant } : {}) });
}
