import { isRepositoryName } from "./server-grammar.ts";

/** `*`, `team/*` (all below `team`), or one repository's name. */
export function isRepositoryPattern(text: string): boolean {
  return text === "*" || isRepositoryName(text.replace(/\/\*$/, ""));
}

export function matchesRepository(pattern: string, repository: string): boolean {
  if (pattern === "*") return true;
  return pattern.endsWith("/*") ? repository.startsWith(pattern.slice(0, -1)) : repository === pattern;
}

/** `v*`, `pr-?`: a star is any text, a question mark any one character. */
export function matchesTagPattern(pattern: string, tag: string): boolean {
  const source = pattern
    .replace(/[.\\+^$()[\]{}|]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`).test(tag);
}
